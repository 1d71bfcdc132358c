"""A piece of Python in a process of its own that gets so much memory and no more: what asks for gigabytes fails instead of being slow."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SPARE = 384 * 2**20

_PROGRAM = """
import resource, sys
{imports}
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {spare}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from fer_core.errors import FerflowError
try:
{code}
except FerflowError as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


def run_bounded(imports: str, code: str, *arguments: str, spare: int = SPARE) -> list[str]:
    """Lines that the code prints, of which the last is its FerflowError if it ends with one. imports: done before memory is limited."""
    lines = "\n".join(f"    {line}" for line in code.strip().splitlines())
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(imports=imports, spare=spare, code=lines), *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()
