"""The formats of registered outputs: which images one holds, and the same file or folder without some of them.

A registry is data that others may have written. So each format first recognises what its own writer made, by mark, metadata or card;
nothing else is read further, rewritten or removed, and nothing behind a link.
"""

import csv
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Literal, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import BOX, DenyList
from fer_core.erasure.current_rows import naming_rows, write_kept
from fer_core.erasure.places import of_rows
from fer_core.errors import FaceSetError, FerflowError, ModelError
from fer_core.faceset import SPLITS, FaceSetCard, read_card, read_rows, split_file
from fer_core.faceset.card import CARD
from fer_core.faceset.staging import PARTIAL, clear, publish, staged
from fer_core.faceset.writer import FaceSetWriter
from fer_core.json_reader import parse_json
from fer_core.outputs.mark import IMAGES, read_mark
from fer_core.outputs.registry import RegisteredOutput
from fer_core.review import label_studio
from fer_core.review.export import CONFIGURATION, PAGE, TASKS
from fer_core.review.face_set import NAME as REVIEWED
from fer_core.storage.store import Store, open_store
from fer_core.storage.system_files import is_system_file
from fer_core.storage.uri import as_store_error, error_text
from fer_core.training import audit_page
from fer_core.training.reviewed_faces import REVIEWED_FACES, ReviewedFaces, read_reviewed_faces, write_reviewed_faces

MOST_HEAD: Final = 64 * 2**20
"""Of a page: its mark is near its beginning."""
MOST_TASKS: Final = 2**30
_FACES: Final = pa.schema([("image_sha256", pa.string()), *((name, pa.float32()) for name in BOX)])
_SAMPLE: Final = re.compile(r"([0-9a-f]{64})/([0-9.e+-]{1,24}(?:,[0-9.e+-]{1,24}){3})")
_NO_LONGER: Final = "it does not exist any more"

State = Literal["absent", "unreachable", "foreign"]


class OutputError(FerflowError):
    """A registered output cannot be searched; the message says why."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class OutputFile(Protocol):
    """One registered output."""

    rewritten: ClassVar[bool]
    """Whether it stays, without what is denied; else it is removed as a whole."""

    def rows(self) -> Iterator[pa.Table]:
        """Tables with one row an image or face that it holds: `image_sha256`, `image_uri` and boxes as far as it has them. OutputError."""
        ...

    def remove(self, deny: DenyList) -> None:
        """Remove what is denied."""
        ...


def denied(deny: DenyList, rows: pa.Table) -> pa.Array:
    """For each row whether it is denied. A row without a box is where any face of its image is: it stands for the whole photograph."""
    if BOX[0] in rows.column_names:
        return of_rows(deny, rows)
    return pc.or_(deny.denies(rows), deny.has_denied_faces(rows))


def located(output: RegisteredOutput, *, folder: bool) -> tuple[Store, str]:
    """The folder of an output, and its name there. folder: whether it is a folder itself. OutputError where it is not there, or a link."""
    above, _, name = output.url.rpartition("/")
    place = open_store(above or "/")
    if not place.local:
        there = bool(place.list_files(name)) if folder else place.exists(name)
        if not there:
            raise OutputError("absent", _NO_LONGER)
        return place, name
    try:
        found = os.lstat(output.url)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.isdir(place.root):
            raise OutputError("absent", _NO_LONGER) from None
        raise OutputError("unreachable", "its folder is not there") from None
    except OSError as error:
        raise OutputError("unreachable", error_text(error).lower()) from error
    if stat.S_ISLNK(found.st_mode):
        raise OutputError("foreign", "it is a link now")
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(found.st_mode) or is_system_file(output.url, found):
        raise OutputError("foreign", f"it is no {'folder' if folder else 'file'}")
    if folder and not os.access(output.url, os.R_OK | os.X_OK):
        raise OutputError("unreachable", "permission denied")
    return place, name


@contextmanager
def _opened(place: Store, name: str) -> Iterator[IO[bytes]]:
    url = place.url(name)
    with as_store_error("read", url), place.fs.open(f"{place.root.rstrip('/')}/{name}", "rb") as stream:
        yield cast("IO[bytes]", stream)


def _marked(place: Store, name: str, kind: str) -> pa.Table:
    with _opened(place, name) as stream:
        mark = read_mark(stream.read(MOST_HEAD))
    if mark is None or mark[0] != kind:
        raise OutputError("foreign", f"it is no {kind} that ferflow wrote, or of an earlier release")
    return mark[1]


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """A gallery or a report: a page or picture with a mark."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = False

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`."""
        yield _marked(*located(self.output, folder=False), self.output.kind)

    def remove(self, deny: DenyList) -> None:
        """The whole page."""
        place, name = located(self.output, folder=False)
        place.remove_file(name)


@dataclass(frozen=True, slots=True)
class ReviewFolder:
    """An export for review: a page, and tasks for Label Studio."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = False

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`. An export that was interrupted may lack the page, or have tasks of another selection."""
        place, page, tasks = self._found()
        if not page and tasks is None:
            raise OutputError("foreign", "it is no export for review")
        images = [_marked(place, PAGE, "review")] if page else []
        yield pa.concat_tables([*images, *([] if tasks is None else [tasks])]).group_by(IMAGES.names).aggregate([])

    def remove(self, deny: DenyList) -> None:
        """The files of the export, and no other one."""
        place, page, tasks = self._found()
        if tasks is not None:
            place.remove_file(TASKS)
        if place.exists(CONFIGURATION) and place.read_bytes(CONFIGURATION) == label_studio.configuration().encode():
            place.remove_file(CONFIGURATION)
        if page:
            place.remove_file(PAGE)

    def _found(self) -> tuple[Store, bool, pa.Table | None]:
        """The folder, whether it has a page, and the images of its tasks."""
        located(self.output, folder=True)
        place = open_store(self.output.url)
        for name in (PAGE, TASKS, CONFIGURATION):
            if place.local and os.path.lexists(f"{place.root}/{name}"):
                located(RegisteredOutput(place.url(name), "review", (), ""), folder=False)
        if not any(place.exists(name) for name in (PAGE, TASKS, CONFIGURATION)):
            raise OutputError("absent", _NO_LONGER)
        return place, place.exists(PAGE), _tasks(place) if place.exists(TASKS) else None


def _tasks(place: Store) -> pa.Table | None:
    """Images of the tasks, `IMAGES`; None where they are no tasks of an export."""
    try:
        value: Any = parse_json(place.read_bytes(TASKS), MOST_TASKS)
        data = [task["data"] for task in value]
        return pa.Table.from_pylist([{name: one[name] for name in (*IMAGES.names, "export_id")} for one in data]).select(IMAGES.names)
    except (ValueError, TypeError, KeyError, pa.ArrowException):
        return None


@dataclass(frozen=True, slots=True)
class CurrentFile:
    """The file of `ferflow export current`."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = True

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`."""
        place, name = located(self.output, folder=False)
        with _opened(place, name) as stream, _no_export():
            yield from naming_rows(stream, self.output.url)

    def remove(self, deny: DenyList) -> None:
        """Replace the file in one step."""
        place, name = located(self.output, folder=False)
        with place.replacing(name) as new, _opened(place, name) as stream, _no_export():
            write_kept(stream, self.output.url, new, lambda rows: pc.invert(denied(deny, rows)))


@dataclass(frozen=True, slots=True)
class AuditFolder:
    """An audit of a set of reviewed faces: a page, a table and figures."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = False

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`. An audit that was interrupted may have the page of an earlier one, and figures of other faces."""
        place, faces = self._found()
        yield from [_marked(place, PAGE, "review")] if place.exists(PAGE) else []
        yield of_samples(faces)

    def remove(self, deny: DenyList) -> None:
        """Its files, and no other one; the one that it is found by is the last."""
        place, _ = self._found()
        for name in (PAGE, audit_page.TABLE, audit_page.FIGURES):
            place.remove_file(name)

    def _found(self) -> tuple[Store, list[str]]:
        """The folder, and the faces that its figures name."""
        located(self.output, folder=True)
        place = open_store(self.output.url)
        for name in (audit_page.FIGURES, PAGE, audit_page.TABLE):
            if name == audit_page.FIGURES or os.path.lexists(f"{place.root}/{name}"):
                located(RegisteredOutput(place.url(name), "audit", (), ""), folder=False)
        try:
            value: Any = parse_json(place.read_bytes(audit_page.FIGURES), MOST_TASKS)
            return place, [face["sample_id"] for face in value["shown"]]
        except (ValueError, TypeError, KeyError) as error:
            raise OutputError("foreign", "it is no audit, or damaged") from error


@contextmanager
def _no_export() -> Iterator[None]:
    try:
        yield
    except (csv.Error, ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
        raise OutputError("foreign", "it is no export of current labels, or damaged") from error


@dataclass(frozen=True, slots=True)
class ReviewedFaceSet:
    """A face set of reviewed faces."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = True

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`."""
        folder, card = self._card()
        for split in card.counts:
            yield of_samples(row["sample_id"] for row in read_rows(folder, split))

    def remove(self, deny: DenyList) -> None:
        """Write the set again without the faces; without any left it is removed."""
        folder, card = self._card()
        with staged(folder) as partial, FaceSetWriter(partial) as writer:
            for split in card.counts:
                samples = [row["sample_id"] for row in read_rows(folder, split)]
                gone = dict(zip(samples, denied(deny, of_samples(samples)).to_pylist(), strict=True))
                for row in read_rows(folder, split):
                    if not gone[row["sample_id"]]:
                        writer.add(row)
            new = writer.finish(card)
            if new.counts:
                publish(partial, new)
            else:
                clear(folder)

    def _card(self) -> tuple[Path, FaceSetCard]:
        located(self.output, folder=True)
        folder = Path(self.output.url)
        if (folder / PARTIAL).exists():
            raise OutputError("foreign", "an import is writing there, or was killed and left faces: import it again")
        if not (folder / CARD).exists():
            raise OutputError("absent", _NO_LONGER)
        for name in (CARD, *(split_file(folder, split).name for split in SPLITS)):
            if os.path.lexists(folder / name):
                located(RegisteredOutput(str(folder / name), self.output.kind, (), ""), folder=False)
        try:
            card = read_card(folder)
        except FaceSetError as error:
            raise OutputError("foreign", "it is no face set, or damaged") from error
        if card.name != REVIEWED:
            raise OutputError("foreign", "it is no set of reviewed faces")
        return folder, card


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model that was trained on reviewed faces. It stays: weights cannot be rewritten."""

    output: RegisteredOutput
    rewritten: ClassVar[bool] = True

    def rows(self) -> Iterator[pa.Table]:
        """See `OutputFile`."""
        yield of_samples(self.faces().faces)

    def remove(self, deny: DenyList) -> None:
        """The digests in its folder go, and are counted."""
        known = self.faces()
        gone = denied(deny, of_samples(known.faces)).to_pylist()
        left = tuple(face for face, is_gone in zip(known.faces, gone, strict=True) if not is_gone)
        write_reviewed_faces(Path(self.output.url), ReviewedFaces(left, known.roots, known.forgotten + sum(gone)))

    def faces(self) -> ReviewedFaces:
        """What its folder says."""
        located(self.output, folder=True)
        folder = Path(self.output.url)
        if not (folder / REVIEWED_FACES).exists():
            raise OutputError("absent", _NO_LONGER)
        located(RegisteredOutput(str(folder / REVIEWED_FACES), "model", (), ""), folder=False)
        try:
            return read_reviewed_faces(folder)
        except ModelError as error:
            raise OutputError("foreign", str(error)) from error


def of_samples(samples: Iterable[str]) -> pa.Table:
    """Digests and boxes, from ids of reviewed faces. OutputError where one is none."""
    rows = []
    for sample in samples:
        found = _SAMPLE.fullmatch(str(sample))
        try:
            numbers = [float(number) for number in found[2].split(",")] if found else []
            rows.append({"image_sha256": found[1] if found else None, **dict(zip(BOX, numbers, strict=True))})
        except ValueError as error:
            raise OutputError("foreign", "it has faces that are no reviewed ones") from error
    return pa.Table.from_pylist(rows, _FACES)


FORMATS: Final[dict[str, Callable[[RegisteredOutput], OutputFile]]] = {
    "gallery": MarkedPage,
    "report": MarkedPage,
    "review": ReviewFolder,
    "current": CurrentFile,
    "faceset": ReviewedFaceSet,
    "reviewed": ReviewedFaceSet,
    "audit": AuditFolder,
    "model": TrainedModel,
}
"""By the kind in the registry."""
