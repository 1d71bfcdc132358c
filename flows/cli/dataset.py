"""`ferflow dataset`: a data set in its official layout -> a face set, aligned at once or later; its labels checked and corrected."""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.errors import FaceSetError, UsageError
from flows.cli import dataset_audit
from flows.cli.option_types import positive, typed_output, typed_path
from flows.output import print_result, print_unregistered

if TYPE_CHECKING:
    from fer_core.faceset import FaceSetCard
    from fer_core.faceset.importers.samples import Sample
    from flows.cli.stage_progress import StageProgress

KINDS = ("ferplus", "rafdb", "affectnet", "folder", "reviewed")
RAW = argparse.RawDescriptionHelpFormatter
IMPORT = """Reads a data set, finds and aligns every face with the detector and aligner that labelling uses, and writes a face set. Training
images that are also in another split are left out. Faces that the detector misses get the average framing of the set.

  ferplus    fer2013new.csv beside FER2013Train/, FER2013Valid/, FER2013Test/ (folders or .zip)
  rafdb      EmoLabel/list_patition_label.txt and Image/aligned/
  affectnet  the annotation CSVs, or train_set/{images,annotations}
  folder     <split>/<expression>/<file> or <expression>/<file>; identities.csv (file, identity) may name the persons
  reviewed   a labels root: the faces whose reviews name an expression (`ferflow review`), framed as they were labelled

With --raw the images are stored unchanged, to be aligned by `ferflow dataset prepare` for one or several detectors."""
PREPARE = """Aligns a raw face set (`ferflow dataset import --raw`) as `ferflow dataset import` would have done.

  ferflow dataset import affectnet AffectNet --to raw --raw
  ferflow dataset prepare raw --to faceset --detector yunet"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("dataset", help="convert a data set to ferflow's format, and check its labels")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = inner.add_parser("import", help="import and align a data set", description=IMPORT, formatter_class=RAW)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("source", metavar="SRC", help="folder of the data set; reviewed: labels root")
    parser.add_argument("--raw", action="store_true", help="store the images unchanged, do not align yet")
    parser.add_argument("--classes", type=int, choices=(7, 8), help="affectnet: without or with contempt (default: 8)")
    parser.add_argument("--held-out", metavar="SHARE", type=float, help="reviewed: part of the images in valid, and in test (default: 0.1)")
    _add_common(parser)
    parser.set_defaults(run=run_import)
    parser = inner.add_parser("prepare", help="align a raw face set", description=PREPARE, formatter_class=RAW)
    parser.add_argument("source", metavar="RAWSET", type=typed_path, help="made by `ferflow dataset import --raw`")
    _add_common(parser)
    parser.set_defaults(run=run_prepare)
    dataset_audit.add_parsers(inner)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="FACESET", type=typed_output, required=True, help="folder to write; must be new or empty")
    parser.add_argument("--detector", metavar="SPEC", help="as for label (default: auto)")
    parser.add_argument("--workers", metavar="N", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run_import(args: argparse.Namespace) -> int:
    """Import, then print a summary of the set."""
    if args.classes is not None and args.kind != "affectnet":
        raise UsageError(f"--classes is for affectnet: {args.kind} has a fixed set of classes")
    if args.raw and args.detector is not None:
        raise UsageError("--raw detects no faces: give --detector to `ferflow dataset prepare`")
    if args.kind == "reviewed":
        return _import_reviewed(args)
    if args.held_out is not None:
        raise UsageError(f"--held-out is for reviewed: {args.kind} has splits of its own")
    source = typed_path(args.source)
    if not source.is_dir():
        raise FaceSetError(f"no such folder: {source}")
    if args.kind == "folder" and args.to.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"the target {args.to} lies inside the source {source}: choose a place outside of it")
    _check_target(args.to)
    samples = _samples(args.kind, source, args.classes or 8)
    from fer_core.detect.registry import resolve
    from fer_core.faceset.importers.raw import import_raw
    from fer_core.faceset.prepare import import_aligned
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        if args.raw:
            card = import_raw(samples, args.to, args.kind, partial(progress, "read faces"))
        else:
            on_face = _of_faces(progress)
            card = import_aligned(samples, args.to, args.kind, resolve(args.detector or "auto"), args.workers, on_face)
    return _answer(card, args.json, args.to)


def _import_reviewed(args: argparse.Namespace) -> int:
    if args.raw or args.detector is not None:
        raise UsageError("reviewed faces are framed as they were labelled: leave --raw and --detector out")
    if args.held_out is not None and not 0 <= args.held_out < 0.5:
        raise UsageError(f"--held-out is a share from 0 to less than 0.5: {args.held_out:g}")
    _check_target(args.to)
    from fer_core.review.face_set import Shares, import_reviewed
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    held_out = 0.1 if args.held_out is None else args.held_out
    with StageProgress() as progress:
        progress("reading labels and crops")
        found = import_reviewed(open_store(args.source), args.to, Shares(held_out, held_out), _of_faces(progress))
    lines = [*_table(found.card), "", f"{found.reviewed} faces were reviewed"]
    lines += [f"{found.no_expression} left out: the review names no expression"] if found.no_expression else []
    lines += [f"{found.orphans} left out: no current label matches"] if found.orphans else []
    lines += [f"{found.gone} left out: neither the photographs nor crops of the faces exist any more"] if found.gone else []
    lines += [f"{found.card.duplicates_removed} left out: the same image is in another split"] if found.card.duplicates_removed else []
    print_unregistered(open_store(args.source), str(args.to))
    print_result(args.json, asdict(found), lines)
    return 0


def run_prepare(args: argparse.Namespace) -> int:
    """Align, then print a summary of the set."""
    _check_target(args.to)
    from fer_core.detect.registry import resolve
    from fer_core.faceset.prepare import prepare
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        card = prepare(args.source, args.to, resolve(args.detector or "auto"), args.workers, _of_faces(progress))
    return _answer(card, args.json, args.to)


def _of_faces(progress: "StageProgress") -> "Callable[[str, int], None]":
    """`located` -> `located faces`."""
    return lambda doing, done: progress(f"{doing} faces", done)


def _check_target(to: Path) -> None:
    from fer_core.faceset.staging import check_target

    check_target(to)


def _samples(kind: str, source: Path, classes: int) -> "Iterator[Sample]":
    """The importer's samples."""
    if kind == "ferplus":
        from fer_core.faceset.importers import ferplus

        return ferplus.samples(source)
    if kind == "rafdb":
        from fer_core.faceset.importers import rafdb

        return rafdb.samples(source)
    if kind == "affectnet":
        from fer_core.faceset.importers import affectnet

        return affectnet.samples(source, 7 if classes == 7 else 8)
    from fer_core.faceset.importers import folder

    return folder.samples(source)


def _answer(card: "FaceSetCard", as_json: bool, to: Path) -> int:
    lines = [*_table(card), ""]
    if card.raw:
        lines += [f"not aligned yet, duplicates not removed yet: ferflow dataset prepare {to} --to FACESET"]
        lines += [f"{card.undecodable} images left out: their files are too large"] if card.undecodable else []
    else:
        lines += [f"{card.duplicates_removed} training images left out: they are also in another split"]
        if card.straddling_removed:
            lines += [f"{card.straddling_removed} more training images left out: they show a person who is also in another split"]
        lines += [f"{card.undecodable} images left out: they cannot be decoded"] if card.undecodable else []
        lines += [f"{card.framed_by_points:.1%} framed by {card.detector}, the rest with the average framing of the set"]
    print_result(as_json, asdict(card), lines)
    return 0


def _table(card: "FaceSetCard") -> list[str]:
    """Faces by split and expression."""
    head = "".join(f"{name:>11}" for name in card.classes)
    lines = [f"{'':5}{'faces':>9}{head}"]
    for split, counts in card.per_class.items():
        lines.append(f"{split:5}{card.counts[split]:9d}" + "".join(f"{counts[name]:11d}" for name in card.classes))
    if card.kind == "votes":
        lines.append("(by most votes, ties to the first; faces without a vote for an expression are in no class)")
    return lines
