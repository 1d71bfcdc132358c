"""What the registered outputs of a root hold of denied images and faces, and its removal there."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from shlex import quote
from typing import Final, Literal

import pyarrow.compute as pc

from fer_core.commit.deny_list import DenyList, read_deny_list
from fer_core.commit.expired_list import read_expired_list
from fer_core.erasure.audit import AuditRecord
from fer_core.erasure.named import Named
from fer_core.erasure.output_files import FORMATS, OutputError, OutputFile, TrainedModel, denied
from fer_core.erasure.places import Place
from fer_core.errors import FerflowError
from fer_core.outputs.registry import RegisteredOutput, registered_outputs
from fer_core.storage.store import Store

State = Literal["holds", "trained", "removed", "rewritten", "absent", "unreachable", "foreign"]

_NOTHING: Final = Named()
_AGAIN: Final = {
    "gallery": "ferflow gallery {root} --to {url}",
    "report": "ferflow report {root} --to {url}",
    "review": "ferflow review export {root} --to {url}",
    "audit": "ferflow dataset audit FACESET --to {url}",
}


@dataclass(frozen=True, slots=True)
class HeldOutput:
    """One registered output that holds what is denied, held it until now, or cannot be searched."""

    kind: str
    url: str
    state: State
    """`holds`; `trained`: a model that learned from them; after a removal `removed` or `rewritten`; `absent`: it was deleted;
    `unreachable`; `foreign`: not what was registered."""
    rows: int
    """Images that a page shows or names, or rows of a table, which are denied."""
    note: str
    """Why it cannot be searched, or the command that writes it again, or trains it without them; else empty."""

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.rows:>7,}  {self.kind:<8} {self.url}: {self.state}" + (f" ({self.note})" if self.note else "")


def held_outputs(store: Store, deny: DenyList, *, removed: bool = False) -> Iterator[HeldOutput]:
    """Those that hold what is denied, and those of which that cannot be said. Reads only.

    removed: whether a model counts that learned from faces which were removed from its list since, whatever `deny` says.
    """
    for path, output in registered_outputs(store):
        found = _searched(store, path, output, deny, removed)
        if found.rows or found.state != "holds":
            yield found


def aged_contents(store: Store, uris: Collection[str]) -> frozenset[str]:
    """Contents of images whose rows at these addresses were removed for their age: digests that outputs have, and no table any more."""
    aged, found = read_expired_list(store).of_addresses(uris), set[str]()
    for _, output in () if aged.empty else registered_outputs(store):
        with suppress(FerflowError):  # `held_outputs` says what cannot be searched
            for rows in () if output is None else _file(output).rows():
                found.update(rows["image_sha256"].filter(aged.has_content(rows)).to_pylist())
    return frozenset(found)


def outputs_of(store: Store, named: Named = _NOTHING) -> list[HeldOutput]:
    """Those that hold what the root denies, or what was named. Reads only."""
    return list(held_outputs(store, read_deny_list(store).extended(named.uris, named.contents, named.faces), removed=True))


def forget_outputs(store: Store, by: str, reason: str = "", assert_lease: Callable[[], None] = lambda: None) -> list[HeldOutput]:
    """Remove what the root denies from all outputs: tables and face sets are rewritten, pages deleted. The caller holds the root's lease.

    An audit record is written first. Entries of outputs that do not exist any more go. After an interruption it is repeated.
    """
    deny = read_deny_list(store)
    found = [Place(output.kind, "", output.url, output.rows) for output in held_outputs(store, deny) if output.state == "holds"]
    if found:
        record = AuditRecord.new(by, reason, {}, found)
        assert_lease()
        replace(record, id=record.id.replace("forget", "outputs", 1)).write(store)
    return list(_remove(store, deny, assert_lease))


def _remove(store: Store, deny: DenyList, assert_lease: Callable[[], None]) -> Iterator[HeldOutput]:
    for path, output in registered_outputs(store):
        found = _searched(store, path, output, deny, removed=True)
        if found.state == "absent":
            assert_lease()
            store.remove_file(path)
        elif found.rows and output is not None:
            assert_lease()
            found = _removed(store, path, output, deny, found)
        if found.rows or found.state != "holds":
            yield found


def _searched(store: Store, path: str, output: RegisteredOutput | None, deny: DenyList, removed: bool) -> HeldOutput:
    if output is None:
        return HeldOutput("unknown", store.url(path), "foreign", 0, "this entry of the registry cannot be read")
    try:
        file = _file(output)
        rows = sum(pc.sum(denied(deny, rows), min_count=0).as_py() for rows in file.rows())
        learned = rows + file.faces().forgotten * removed if isinstance(file, TrainedModel) else 0
        if learned:
            return _trained(store, output, learned)
    except OutputError as error:
        if error.state == "absent" and output.elsewhere:  # its entry stays: nothing was searched
            return HeldOutput(output.kind, output.url, "unreachable", 0, f"{output.elsewhere} wrote it, and it is not on this machine")
        return HeldOutput(output.kind, output.url, error.state, 0, str(error))
    except FerflowError as error:
        return HeldOutput(output.kind, output.url, "unreachable", 0, str(error))
    return HeldOutput(output.kind, output.url, "holds", rows, "")


def _removed(store: Store, path: str, output: RegisteredOutput, deny: DenyList, found: HeldOutput) -> HeldOutput:
    file = _file(output)
    try:
        file.remove(deny)
    except OutputError as error:
        return HeldOutput(output.kind, output.url, error.state, found.rows, str(error))
    except FerflowError as error:
        return HeldOutput(output.kind, output.url, "unreachable", found.rows, str(error))
    if file.rewritten:
        return replace(found, state="rewritten") if found.state == "holds" else found
    store.remove_file(path)
    again = _AGAIN[output.kind].format(root=quote(store.url()), url=quote(output.url))
    return replace(found, state="removed", note=f"write it again: {again}")


def _trained(store: Store, output: RegisteredOutput, faces: int) -> HeldOutput:
    command = f"ferflow retrain {quote(output.url.rpartition('/')[0])} --reviewed {quote(store.url())} --start 'from random weights'"
    again = f"it learned from them; to train one without them: {command}"
    return HeldOutput(output.kind, output.url, "trained", faces, again)


def _file(output: RegisteredOutput) -> OutputFile:
    return FORMATS[output.kind](output)
