"""Byte flips in real files: `python -m tests.faults.fuzz images --photos FOLDER --mutants 20000 --to LOG`, or `lists`.

Mutants are decoded, or read as lists, in child processes whose memory is limited. Where one dies of a mutant, or is still at it when its
time is over, the mutant is named in the log and the process replaced.
"""

import argparse
import json
import os
import resource
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ADDRESS_SPACE = 4 * 2**30
"""Bytes a child may map."""
SECONDS = 30.0
"""For one mutant."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    number: int
    name: str
    """Of the file it was made of."""
    status: str
    """`fine`, the status or error it was refused with, or `died`, `hung`, `raised`."""
    seconds: float
    """Of a processor; for what hung, on the clock."""
    peak_mb: int
    """Most memory in use while it was looked at, everything included."""
    told: str = ""

    @property
    def bad(self) -> bool:
        return self.status in ("died", "hung", "raised")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("images", "lists"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--child", action="store_true")
    given = parser.parse_args()
    if given.child:
        look_at(given.what, given.photos, given.seed, range(given.first, given.mutants))
        return 0
    outcomes = []
    with (given.to or Path(os.devnull)).open("w") as log:
        for outcome in fuzz(given.what, given.photos, given.seed, given.mutants):
            outcomes.append(outcome)
            if outcome.bad or given.to is not None:
                log.write(f"{json.dumps(asdict(outcome))}\n")
    sys.stdout.write(f"{json.dumps(summary(outcomes), indent=1)}\n")
    return int(any(outcome.bad for outcome in outcomes))


def fuzz(what: str, photos: Path | None, seed: int, mutants: int, seconds: float = SECONDS) -> Iterator[Outcome]:
    """Every mutant's outcome, in order."""
    number = 0
    while number < mutants:
        words = [sys.executable, "-m", "tests.faults.fuzz", what, "--child", "--seed", seed, "--first", number, "--mutants", mutants]
        words += ["--photos", photos] if photos else []
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen(
            list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, env=environment
        ) as child:
            for outcome in _answers(child, number, seconds):
                yield outcome
                number = outcome.number + 1


def _answers(child: "subprocess.Popen[bytes]", number: int, seconds: float) -> Iterator[Outcome]:
    """What one child says, until it has done everything or is lost."""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        waiting, name, patience = b"", "", 20 * seconds  # starting takes longer than a mutant does
        while True:
            if not selector.select(patience):
                child.kill()
                yield Outcome(number, name, "hung", patience, 0)
                return
            piece = os.read(child.stdout.fileno(), 1 << 16)
            if not piece:
                if child.wait():
                    yield Outcome(
                        number, name, "died", 0, 0, f"exit {child.returncode}: {child.stderr.read()[-300:].decode(errors='replace')}"
                    )
                return
            *lines, waiting = (waiting + piece).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "status" in said:
                    yield Outcome(**said)
                else:
                    number, name, patience = said["number"], said["name"], seconds


def look_at(what: str, photos: Path | None, seed: int, numbers: range) -> None:
    """In a child: say which mutant is next, look at it, say what became of it."""
    from tests.faults.mutants import image_files, list_files, mutant, pictures_of

    def say(record: dict[str, object]) -> None:
        sys.stdout.write(f"{json.dumps(record)}\n")
        sys.stdout.flush()

    files = image_files(pictures_of(photos)) if what == "images" else list_files()
    look = _decoded if what == "images" else _listed
    # numpy's, Pillow's and Arrow's libraries are mapped by now; the rest is for the mutants
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for number in numbers:
        name, data = mutant(files, seed, number)
        say({"number": number, "name": name})
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        began = time.process_time()
        status, told = _outcome(look, name, data)
        say(asdict(Outcome(number, name, status, round(time.process_time() - began, 4), _peak(), told)))


def _outcome(look: Callable[[str, bytes], str], name: str, data: bytes) -> tuple[str, str]:
    from fer_core.errors import ImageError, SourceError

    try:
        return look(name, data), ""
    except ImageError as error:
        return error.status, ""
    except SourceError as error:
        return "refused", "" if "\n" not in str(error) else "more than one line"
    except Exception as error:  # noqa: BLE001  (this is what is looked for)
        return "raised", f"{type(error).__name__}: {error}"


def _decoded(_: str, data: bytes) -> str:
    from fer_core.decode.decoder import DecodeLimits, decode

    decode(data, DecodeLimits())
    return "fine"


def _listed(name: str, data: bytes) -> str:
    from fer_core.collection.list_file import read_list

    found = read_list(f"list.{name.partition('/')[0]}", data)
    assert all(isinstance(entry, str) and entry.strip() for entry in found)
    return "fine"


def _peak() -> int:
    """Megabytes, since the peak was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Counts by format and status, and the extremes."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.name.partition("/")[0], Counter())[outcome.status] += 1
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.peak_mb)
    return {
        "mutants": len(outcomes),
        "by format": {kind: dict(sorted(found.items())) for kind, found in sorted(counts.items())},
        "slowest": asdict(slowest),
        "largest": asdict(largest),
        "median seconds": sorted(outcome.seconds for outcome in outcomes)[len(outcomes) // 2],
        "bad": [asdict(outcome) for outcome in outcomes if outcome.bad][:50],
    }


if __name__ == "__main__":
    sys.exit(main())
