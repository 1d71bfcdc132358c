"""`ferflow gallery`: faces and labels, drawn on the photographs."""

import argparse

from flows.cli.option_types import positive, typed_output
from flows.output import print_result, print_unregistered

HELP = """Draws the newest run's photographs with boxes, points, expressions and probabilities into one self-contained HTML page.

  ferflow gallery ~/labels --to gallery.html
  ferflow gallery ~/labels --to gallery.html --png gallery.png --limit 50

The page contains the photographs: protect it like them."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "gallery", help="show the labelled photographs", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--to", metavar="FILE.html", type=typed_output, required=True, help="page to write")
    parser.add_argument("--png", metavar="FILE.png", type=typed_output, help="also write the page as one image")
    parser.add_argument("--limit", metavar="N", type=positive, default=24, help="most photographs to show (default: 24)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from dataclasses import asdict

    from fer_core.gallery import draw_gallery
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        progress("drawing the gallery")
        summary = draw_gallery(args.root, args.to, args.png, args.limit)
    files = [str(file) for file in (args.to, args.png) if file is not None]
    print_unregistered(open_store(args.root), files[0])
    print_result(args.json, {**asdict(summary), "files": files}, "wrote " + " and ".join(files))
    return 0
