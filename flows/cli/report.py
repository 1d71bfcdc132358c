"""`ferflow report`: the runs of a root as one HTML page."""

import argparse

from flows.output import print_result, print_unregistered

HELP = """Writes one HTML page about a labels root: images and labels over time, expressions by folder, confidence against reviews, quality
and pose, images that could not be processed, reviews still to do, what ran and what it cost, and the distance of each run from the
reference of its model (population stability index; below 0.10 no drift, from 0.25 on drift). It contains no face and no image name, unless
asked for.

  ferflow report ~/labels --to report.html
  ferflow report ~/labels --to report.html --with-names --with-faces
  ferflow report ~/labels --to report.html --reference run-20261124-021500-ab12

A model's reference is its first run of at least 200 faces, until --reference names another one; smaller runs are listed without a verdict.
The flow `report` does the same every day, and emits the event fer.drift.detected."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "report",
        help="runs, labels over time and drift as one HTML page",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--to", metavar="FILE.html", required=True, help="file for the page, outside of ROOT; an existing file is replaced")
    parser.add_argument("--reference", metavar="RUN", help="compare the runs under this run's model with it from now on")
    parser.add_argument("--with-names", action="store_true", help="name folders, and images as examples; protect the page like them")
    parser.add_argument(
        "--with-faces", action="store_true", help="show faces as examples, where crops were kept and the policy of ROOT allows them"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare the runs, write the page, print a summary. Needs no Prefect server."""
    from fer_core.gallery.text import counted
    from fer_core.monitoring.disclosure import Disclosure
    from fer_core.monitoring.report import report_on, write_report
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress
    from tasks.artifacts.drift import headline

    with StageProgress() as progress:
        progress("comparing runs")
        found = report_on(open_store(args.root), reference_run=args.reference)
        progress("writing the page")
        disclosure = Disclosure(args.with_names, args.with_faces)
        file = write_report(found, args.to, disclosure)
    if disclosure.personal:
        print_unregistered(open_store(args.root), file)
    print_result(args.json, {**found.to_json(), "file": file}, f"wrote {file}: {counted(len(found.runs), 'run')}; {headline(found)}")
    return 0
