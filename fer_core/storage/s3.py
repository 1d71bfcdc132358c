"""Connection settings of S3 from the environment, as options of the S3 client and of deltalake.

The client itself reads the usual settings, in the usual order: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or the
profile AWS_PROFILE of the shared files, or the role of the machine; AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL; AWS_DEFAULT_REGION.
Client options never contain credentials: the client finds them itself, so code that holds these options cannot reveal them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fer_core.errors import AccessError

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from fsspec import AbstractFileSystem

ADDRESSING: Final = "FERFLOW_S3_ADDRESSING"
"""Variable for the position of the bucket in a request: `path` (https://host/bucket/key), `virtual` (https://bucket.host/key) or `auto`
(virtual for Amazon, path where the endpoint is an IP address). Default: the profile's `addressing_style`, then `auto`."""
STYLES: Final = ("auto", "path", "virtual")
CONNECTIONS: Final = 64
"""To one host at a time. The client's default, 10, is below the number of concurrent reads and writes."""

TRIES: Final = 3
"""Of one request, by the client: so a listing of many pages does not start again for one lost page. `fer_core.storage.retry` retries what
still fails, and failures that the client does not detect, such as a response that ends too early."""

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def client_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of `s3fs.S3FileSystem`. AccessError in one line for settings that no client could use.

    AWS_REGION, which Amazon's other tools read, takes precedence over AWS_DEFAULT_REGION, the only one that the client reads.
    """
    for name in _ENDPOINTS:
        _check_endpoint(name, environment.get(name, ""))
    config: dict[str, Any] = {"max_pool_connections": CONNECTIONS, "retries": {"mode": "standard", "total_max_attempts": TRIES}}
    style = environment.get(ADDRESSING)
    if style:
        if style not in STYLES:
            raise AccessError(f"{ADDRESSING} is {', '.join(STYLES[:-1])} or {STYLES[-1]}, not {style!r}")
        config["s3"] = {"addressing_style": style}
    region = environment.get("AWS_REGION")
    return {"config_kwargs": config, **({"client_kwargs": {"region_name": region}} if region else {})}


def table_options(fs: "AbstractFileSystem", bucket: str) -> dict[str, str]:
    """The S3 client's settings as options of deltalake, credentials included: for deltalake alone, never to be shown or stored."""
    from fsspec.asyn import sync

    fs.connect()
    meta = fs.s3.meta
    endpoint, style = str(meta.endpoint_url), (meta.config.s3 or {}).get("addressing_style")
    found = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": meta.region_name, **sync(fs.loop, _credentials, fs.session)}
    if style == "virtual":  # deltalake then takes the endpoint as it is
        found |= {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true", "AWS_ENDPOINT_URL": endpoint.replace("://", f"://{bucket}.", 1)}
    if endpoint.startswith("http://"):
        found["AWS_ALLOW_HTTP"] = "true"
    return {name: str(value) for name, value in found.items() if value}


async def _credentials(session: "AioSession") -> dict[str, str]:
    """Those of a role are renewed first where they are about to expire."""
    credentials = await session.get_credentials()
    if credentials is None:
        return {}
    frozen = await credentials.get_frozen_credentials()
    return {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key, "AWS_SESSION_TOKEN": frozen.token}


def _check_endpoint(name: str, url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if "@" in url:  # not shown: it may hold a password
        raise AccessError(f"credentials do not belong in {name}: put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
    if not usable:
        raise AccessError(f"{name} is no http:// or https:// address: {url!r}")
