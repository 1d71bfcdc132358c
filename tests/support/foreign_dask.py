"""What another user tries on every port of a job: `python -m tests.support.foreign_dask PORT...`. Prints one JSON object a port.

`tcp` and `tls` (with a certificate of its own): the user id that its code ran as, or None. `pages`: the paths that answered with a page.
"""

import asyncio
import http.client
import json
import logging
import os
import sys
from contextlib import suppress

from distributed import Client, Security
from distributed.comm import CommClosedError
from distributed.core import rpc
from distributed.protocol.pickle import dumps

from tests.support.second_user import become

PAGES = (
    "/health",
    "/metrics",
    "/info/main/workers.html",
    "/info/main/logs.html",
    "/json/counts.json",
    "/sitemap.json",
    "/status",
    "/jupyter",
)


async def ran_as(address: str, security: Security) -> int | None:
    """A scheduler calls it `run_function`, a worker and its nanny `run`."""
    for called in ("run_function", "run"):
        with suppress(OSError, ValueError, RuntimeError, TypeError, CommClosedError):
            async with asyncio.timeout(3), rpc(address, timeout=2, connection_args=security.get_connection_args("client")) as line:
                answer = await getattr(line, called)(function=dumps(os.geteuid), args=dumps(()), kwargs=dumps({}))
                if answer["status"] == "OK":
                    return answer["result"]
    return None


def pages(port: int) -> list[str]:
    found = []
    for path in PAGES:
        with suppress(OSError, http.client.HTTPException):
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            line.request("GET", path)
            if line.getresponse().status < 400:
                found.append(path)
    return found


async def tried(port: int, own: Security) -> dict[str, object]:
    tcp = await ran_as(f"tcp://127.0.0.1:{port}", Security())
    if tcp is not None:  # no more is to be shown, and of HTTP such a port makes an error in its owner's log
        return {"tcp": tcp, "tls": None, "pages": []}
    return {"tcp": tcp, "tls": await ran_as(f"tls://127.0.0.1:{port}", own), "pages": await asyncio.to_thread(pages, port)}


async def main(ports: list[int]) -> None:
    own = Security.temporary()
    async with Client(n_workers=0, processes=False, asynchronous=True, dashboard_address=None):  # loads all that connecting takes
        pass
    become()
    sys.stdout.write(json.dumps(dict(zip(ports, await asyncio.gather(*(tried(port, own) for port in ports)), strict=True))))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main([int(word) for word in sys.argv[1:]]))
