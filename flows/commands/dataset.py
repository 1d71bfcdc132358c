"""`ferflow dataset import`: a data set in its official layout -> an aligned face set."""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.errors import FaceSetError
from flows.answer import answer

if TYPE_CHECKING:
    from fer_core.importers.samples import Sample

KINDS = ("ferplus", "rafdb", "affectnet", "folder")
RAW = argparse.RawDescriptionHelpFormatter
HELP = """Reads a data set, finds and aligns every face with the detector and aligner that labelling uses, drops training pictures that are
also in another split, and writes a face set. Faces the detector misses keep the set's usual framing.

  ferplus    fer2013new.csv beside FER2013Train/, FER2013Valid/, FER2013Test/ (folders or .zip)
  rafdb      EmoLabel/list_patition_label.txt and Image/aligned/
  affectnet  the annotation CSVs, or train_set/{images,annotations}
  folder     <split>/<expression>/<file> or <expression>/<file>"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("dataset", help="bring a data set into ferflow's own form")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = inner.add_parser("import", help="import and align a data set", description=HELP, formatter_class=RAW)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("source", metavar="SRC", type=Path, help="folder of the data set")
    parser.add_argument("--to", metavar="FACESET", type=Path, required=True, help="folder to write; must be new or empty")
    parser.add_argument("--detector", metavar="SPEC", default="auto", help="as for label (default: auto)")
    parser.add_argument("--workers", metavar="N", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import, then say what is in the set."""
    if not args.source.is_dir():
        raise FaceSetError(f"no such folder: {args.source}")
    if args.to.exists() and any(args.to.iterdir()):
        raise FaceSetError(f"the target folder is not empty: {args.to}")
    samples = _samples(args.kind, args.source)
    from fer_core.detect.choice import resolve  # noqa: PLC0415  (heavy imports come after the cheap checks)
    from fer_core.prepare import prepare  # noqa: PLC0415

    card = prepare(samples, args.to, args.kind, resolve(args.detector), max(1, args.workers), _tell)
    text = [f"{split}: {count} faces" for split, count in card.counts.items()]
    text += [f"{card.duplicates_removed} training pictures left out: they are also in another split"]
    text += [f"{card.undecodable} pictures left out: they cannot be decoded"] if card.undecodable else []
    text += [f"{card.framed_by_points:.1%} framed by {card.detector}, the rest as the set usually frames them"]
    answer(args.json, asdict(card), "\n".join(text))
    return 0


def _samples(kind: str, source: Path) -> "Iterator[Sample]":
    """The importer's samples."""
    if kind == "ferplus":
        from fer_core.importers import ferplus  # noqa: PLC0415

        return ferplus.samples(source)
    if kind == "rafdb":
        from fer_core.importers import rafdb  # noqa: PLC0415

        return rafdb.samples(source)
    if kind == "affectnet":
        from fer_core.importers import affectnet  # noqa: PLC0415

        return affectnet.samples(source)
    from fer_core.importers import folder  # noqa: PLC0415

    return folder.samples(source)


def _tell(done: int) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"\rlocated {done} faces")
    sys.stderr.flush()
