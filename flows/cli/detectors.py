"""`ferflow detectors`: lists the face detectors, and downloads YuNet."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from flows.cli.option_types import typed_output
from flows.output import print_result

KINDS: Final = (
    ("builtin", "Apache-2.0", "comes with ferflow and was trained in its repository: five points, nothing to download"),
    ("yunet", "Apache-2.0", "YuNet: fast and good; or yunet:FILE"),
    ("scrfd:FILE", "non-commercial research only", "InsightFace's SCRFD, an .onnx file with five points"),
    (
        "insightface:PACK",
        "non-commercial research only",
        "the detector of an InsightFace pack such as buffalo_l",
    ),
)
"""Spec, licence of the model, what it is."""

PULL: Final = """Downloads YuNet's file (230 KB, Apache-2.0) from OpenCV's model zoo into the folder of detector files,
and checks its sha256 before it appears there. From then on `--detector auto` selects it.

  ferflow detectors pull yunet
  ferflow detectors pull yunet --to /models        then: --detector yunet:/models/face_detection_yunet_2023mar.onnx

This is the only download of ferflow itself. Every other command connects only to the storage and the scheduler
you name; a pack named as insightface:PACK is fetched by insightface, on first use."""

_NETWORK: Final = (
    "Nothing of ferflow but `detectors pull` fetches anything from the internet; insightface fetches the packs you name itself."
)
_WIDTH: Final = 18


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("detectors", help="list face detectors, or get one", epilog=_NETWORK)
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = inner.add_parser("list", help="list detectors, whether they are available here, their accuracy and licence")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")
    listing.set_defaults(run=run_list)
    pull = inner.add_parser(
        "pull",
        help="download YuNet",
        description=PULL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pull.add_argument("name", metavar="NAME", help="yunet")
    pull.add_argument("--to", metavar="FOLDER", type=typed_output, help="folder for the file (default: the folder of detector files)")
    pull.add_argument("--url", metavar="URL", help="another address of the same file, such as a mirror")
    pull.add_argument("--json", action="store_true", help="one JSON object on stdout: detector, file, sha256, bytes, downloaded")
    pull.set_defaults(run=run_pull)


def run_list(args: argparse.Namespace) -> int:
    """A few lines a detector."""
    from fer_core.detect.builtin.measured import WHERE
    from fer_core.detect.registry import folder, resolve

    rows = [_row(*kind) for kind in KINDS]
    automatic = resolve("auto")
    lines = [line for row in rows for line in _lines(row)]
    lines += ["", f"auto selects {automatic}", f"files are searched in {folder()}", f"figures from {WHERE}"]
    value = {"detectors": rows, "auto": automatic, "folder": str(folder()), "measured_in": WHERE}
    print_result(args.json, value, lines)
    return 0


def run_pull(args: argparse.Namespace) -> int:
    """Download YuNet's file, the only one whose licence allows redistribution."""
    from fer_core.errors import UsageError

    if args.name != "yunet":
        raise UsageError(
            f"only yunet can be pulled, not {args.name!r}; InsightFace's models are non-commercial and come with the package insightface"
        )
    from fer_core.detect.download import YUNET_URL, download_yunet
    from fer_core.detect.registry import YUNET_FILE, folder

    pulled = download_yunet(args.to, args.url or YUNET_URL)
    said = "downloaded, sha256 verified" if pulled.downloaded else "already there, sha256 verified"
    lines = [f"{pulled.file}: {said}"]
    if pulled.file != folder() / YUNET_FILE:
        lines.append(f"detectors are searched in {folder()}: name this one as --detector yunet:{pulled.file}")
    value = {"detector": "yunet", "file": str(pulled.file), "sha256": pulled.sha256, "bytes": pulled.size, "downloaded": pulled.downloaded}
    print_result(args.json, value, lines)
    return 0


def _row(spec: str, licence: str, what: str) -> dict[str, Any]:
    from dataclasses import asdict

    from fer_core.detect.builtin.measured import MEASURED

    present = _present(spec)
    path = None if present is False else _place(spec)
    figures = [asdict(measured) for measured in MEASURED[spec]]
    return {"detector": spec, "present": present, "licence": licence, "what": what, "path": path, "measured": figures}


def _lines(row: dict[str, Any]) -> Iterator[str]:
    word = {True: "present", False: "absent", None: "named by you"}[row["present"]]
    yield f"{row['detector']:<{_WIDTH}}{word:<14}{row['licence']:<30}{row['what']}"
    if row["path"]:
        yield f"{'':{_WIDTH}}{row['path']}"
    elif row["detector"] == "yunet":
        yield f"{'':{_WIDTH}}get it with: ferflow detectors pull yunet"
    for seen in row["measured"]:
        name = f"{seen['variant']}: " if seen["variant"] else ""
        yield (
            f"{'':{_WIDTH}}{name}finds {seen['recall_20px']:g} of faces >= 20 px and {seen['recall_40px']:g} >= 40 px in crowds, "
            f"{seen['recall_afw']:g} in snapshots (AFW); {seen['images_per_second']:g} images/s"
        )


def _present(spec: str) -> bool | None:
    """Whether a detector is installed; None where its package is installed and the user names the file or pack."""
    from fer_core.detect.registry import resolve
    from fer_core.errors import DetectorError

    if spec == "scrfd:FILE":
        return None
    try:
        resolve(spec.replace("PACK", "buffalo_l"))
    except DetectorError:
        return False
    return None if spec == "insightface:PACK" else True


def _place(spec: str) -> str | None:
    """The folder of its files; None where the user names it."""
    from importlib.util import find_spec

    from fer_core.detect.registry import resolve

    if spec == "yunet":
        return resolve(spec).partition(":")[2]
    if spec == "builtin":
        found = find_spec("fer_core.detect")  # does not load torch
        return str(Path(found.origin).parent / "weights" / "builtin.safetensors") if found and found.origin else None
    packs = Path("~/.insightface/models").expanduser()
    return str(packs) if spec == "insightface:PACK" and packs.is_dir() else None
