"""Text form of clusters, on the command line and in deployments of earlier releases."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from fer_core.errors import UsageError
from fer_core.json_reader import parse_json
from fer_core.storage.uri import holds_credentials
from tasks.clusters.base import ClusterBackend
from tasks.clusters.registry import BACKENDS, Kind

SPEC: Final = "local, local:N, local:MIN-MAX, gpu, gpu:N, tcp://host:port, tls://host:port, slurm:FILE, kubernetes:FILE or FILE (.json)"
MOST_BYTES: Final = 2**20
_KINDS: Final[TypeAdapter[Kind]] = TypeAdapter(Annotated[Kind, Field(discriminator="kind")])
_BRANCHES: Final = {*BACKENDS, "constrained-int", "int", "Adaptive"}
"""Entries of pydantic's error locations that name a branch of a union, not a field."""


def from_text(text: str) -> ClusterBackend:
    """Parse text as in `SPEC`, or JSON. UsageError for other text, and for a file that cannot be read or does not describe a cluster."""
    if holds_credentials(text):
        raise UsageError("credentials do not belong in an address; put them into the environment")
    for backend in BACKENDS.values():
        if (found := backend.from_words(text)) is not None:
            return found
    if text.lstrip().startswith("{"):
        return _from_json(text, None, "the cluster")
    kind, colon, file = text.rpartition(":")
    if file.removesuffix(".json") not in {"", file} and (not colon or kind in BACKENDS):
        try:
            content = Path(file).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the cluster from {file}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
        return _from_json(content, kind or None, file)
    raise UsageError(f"a cluster is {SPEC}, not {text!r}")


def validation_message(error: ValidationError, where: str = "") -> str:
    """The first error, in one line. where: prefix of the field's name."""
    every = error.errors(include_url=False, include_input=False)
    first = next((one for one in every if not one["type"].endswith("_type")), every[0])  # for a union, the error of the closest branch
    place = [str(part) for part in first["loc"] if part not in _BRANCHES and "[" not in str(part)]
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}{'.'.join(place)}{': ' if where or place else ''}{reason[:1].lower()}{reason[1:]}"


def _from_json(text: str, kind: str | None, where: str) -> Kind:
    """kind: the prefix of the file's name; the file may then omit it."""
    try:
        value = parse_json(text, MOST_BYTES)
    except ValueError as error:
        raise UsageError(f"{where} is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise UsageError(f"{where} is no JSON object")
    if kind is not None and value.setdefault("kind", kind) != kind:
        raise UsageError(f"{where} describes a cluster of kind {value['kind']!r}, not {kind}")
    try:
        found: Kind = _KINDS.validate_python(value)
    except ValidationError as error:
        raise UsageError(f"{where}: {validation_message(error)}") from error
    return found
