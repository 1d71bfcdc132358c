"""What is written from a labels root elsewhere, one of each kind, all of it with the photograph that is asked for."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.export.current_file import export_current
from fer_core.gallery import draw_gallery
from fer_core.outputs.mark import html_mark
from fer_core.outputs.registry import register_output, registered_outputs
from fer_core.review.export import export_review
from fer_core.review.face_set import Shares, import_reviewed
from fer_core.storage.store import open_store
from fer_core.training.reviewed_faces import keep_reviewed_faces
from tests.support.remembered import Remembered, remember


@dataclass(frozen=True)
class Written:
    """The root, and the folder of what was written from it."""

    root: Remembered
    out: Path

    def copied(self, folder: Path) -> "Written":
        """The same elsewhere, of the same photographs."""
        shutil.copytree(self.root.store.url(), folder / "root")
        shutil.copytree(self.out, folder / "out")
        store = open_store(str(folder / "root"))
        for path, output in list(registered_outputs(store)):
            store.remove_file(path)
            register_output(store, output.url.replace(str(self.out), str(folder / "out")), output.kind, output.run_ids)
        return Written(Remembered(store, self.root.photos), folder / "out")

    def files(self) -> dict[str, bytes]:
        return {str(file.relative_to(self.out)): file.read_bytes() for file in sorted(self.out.rglob("*")) if file.is_file()}

    def traces(self, *texts: str) -> list[str]:
        """Files elsewhere that hold one of these texts: in their bytes, or in a column."""
        return [name for name, data in self.files().items() if any(_holds(data, text) for text in texts)]


def _holds(data: bytes, text: str) -> bool:
    if text.encode() in data:
        return True
    tables = {b"PAR1": lambda: pq.read_table(pa.BufferReader(data)), b"ARRO": lambda: pa.ipc.open_file(data).read_all()}
    read = tables.get(data[:4])
    values = [] if read is None else [value for column in read().to_pydict().values() for value in column]
    return any(isinstance(value, str) and text in value for value in values)


def written(root: str, folder: Path) -> Written:
    """All kinds: a gallery, a report, an export for review, current labels in three formats, a face set, one of a model, the model."""
    found = remember(root, folder / "photos")
    out = folder / "out"
    draw_gallery(root, out / "gallery.html", out / "gallery.png", 24, "third")
    page = f"<head>{html_mark('report', [(found.sha256, found.uri)])}</head><p>{found.uri}"
    (out / "report.html").write_text(page)
    register_output(found.store, str(out / "report.html"), "report", ["third"])
    export_current(found.store, open_store(str(out / "current")))
    _in_other_formats(found, out)
    import_reviewed(found.store, out / "faceset", Shares(0, 0))
    import_reviewed(found.store, out / "models" / "reviewed", Shares(0, 0), kind="reviewed")
    keep_reviewed_faces(out / "models" / "tuned", [out / "models" / "reviewed"])
    found.store.remove_tree("_meta/reviews")  # reviewed faces are not exported again
    export_review(found.store, open_store(str(out / "review")))
    return Written(found, out)


def _in_other_formats(root: Remembered, out: Path) -> None:
    rows = pq.read_table(out / "current" / "current.parquet")
    with pa.ipc.new_file(out / "current.arrow", rows.schema) as file:
        file.write_table(rows)
    with (out / "current.csv").open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerows([rows.column_names, *zip(*(column.to_pylist() for column in rows.columns), strict=True)])
    for name in ("current.arrow", "current.csv"):
        register_output(root.store, str(out / name), "current")
