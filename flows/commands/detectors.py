"""`ferflow detectors`: which face detectors there are."""

import argparse
from typing import Final

from flows.answer import answer

KINDS: Final = (
    ("builtin", "Apache-2.0", "OpenCV's cascades, in the installed wheel: frontal faces, estimated points"),
    ("yunet", "Apache-2.0", "YuNet: fast and good; or yunet:FILE"),
    ("scrfd:FILE", "non-commercial research only", "InsightFace's SCRFD, an .onnx file with five points"),
    (
        "insightface:PACK",
        "non-commercial research only",
        "the detector of an InsightFace pack such as buffalo_l",
    ),
)
"""Spec, licence of the model, what it is."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("detectors", help="list face detectors")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = inner.add_parser("list", help="which there are, whether they can work here, under which licence")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")
    listing.set_defaults(run=run_list)


def run_list(args: argparse.Namespace) -> int:
    """One line a detector."""
    from fer_core.detect.choice import folder, resolve  # noqa: PLC0415  (heavy imports come after parsing)

    rows = [{"detector": spec, "present": _present(spec), "licence": licence, "what": what} for spec, licence, what in KINDS]
    automatic = resolve("auto")
    words = {True: "present", False: "absent", None: "named by you"}
    lines = [f"{spec:<18}{words[_present(spec)]:<14}{licence:<30}{what}" for spec, licence, what in KINDS]
    lines += ["", f"auto takes {automatic}", f"files are looked for in {folder()}"]
    answer(args.json, {"detectors": rows, "auto": automatic, "folder": str(folder())}, "\n".join(lines))
    return 0


def _present(spec: str) -> bool | None:
    """None where that depends on what the user names and its package is there."""
    from fer_core.detect.choice import resolve  # noqa: PLC0415
    from fer_core.errors import DetectorError  # noqa: PLC0415

    if spec == "scrfd:FILE":
        return None
    try:
        resolve(spec.replace("PACK", "buffalo_l"))
    except DetectorError:
        return False
    return None if spec == "insightface:PACK" else True
