"""The runs of a root in the light of drift: what each found, what it is to be compared with, and how far it is from that."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.hashing import json_sha256
from fer_core.monitoring.drift import CATEGORIES, EDGES, ENOUGH, MEASURES, Finding, Limits, Profile, compare_profiles, histogram
from fer_core.monitoring.reference import Reference, read_profile, read_reference, write_profile, write_reference
from fer_core.run.configuration import Answering
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.tables.schema import LABELED, LABELS, NO_FACE

_READ: Final = pa.schema([LABELS.field(name) for name in ("expression", "needs_review", *EDGES)])


@dataclass(frozen=True, slots=True)
class RunFindings:
    """One committed run."""

    manifest: Manifest
    profile: Profile
    reference: Reference | None
    """Of the run's model; None where no run under it is large enough to be one."""
    findings: tuple[Finding, ...]
    """Empty without a reference, and for the run that is the reference."""

    @property
    def is_reference(self) -> bool:
        """Whether the run is what others are compared with."""
        return self.reference is not None and self.manifest.run_id in self.reference.runs


def newest_compared(runs: Sequence[RunFindings]) -> RunFindings | None:
    """The newest run that was compared with a reference; None where there is none."""
    return next((run for run in reversed(runs) if run.findings), None)


def history(store: Store, limits: Limits | None = None) -> list[RunFindings]:
    """Every committed run, oldest first, beside the reference of its model. CommitError when there is none, or a part is damaged.

    A model without a reference gets one: its first run of at least `limits.enough` faces. What is read of tables is kept as counts under
    `_meta/drift`, where references lie too; nothing else is written.
    """
    limits = limits or Limits()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = list(pool.map(lambda run_id: read_manifest(store, run_id), committed_runs(store)))
    if not manifests:
        raise CommitError(f"no run has been committed under {store.url()} yet")
    manifests.sort(key=lambda manifest: (manifest.config["started_us"], manifest.run_id))
    profiles = {manifest.run_id: profile_of(store, manifest) for manifest in manifests}
    references = {digest: _reference(store, manifests, profiles, digest, limits.enough) for digest in _models(manifests)}
    return [_findings(manifest, profiles[manifest.run_id], references[_pipeline(manifest)], limits) for manifest in manifests]


def choose_reference(store: Store, run_id: str) -> Reference:
    """Have a run be what those under the same model are compared with from now on. CommitError when it is unknown or found no face."""
    manifest = read_manifest(store, run_id)
    profile = profile_of(store, manifest)
    if not profile.faces:
        raise CommitError(f"run {run_id} has found no face, and cannot be a reference")
    return write_reference(store, manifest.model_name, _pipeline(manifest), (run_id,), profile)


def profile_of(store: Store, manifest: Manifest) -> Profile:
    """What a run found; from its tables the first time, from what was kept of them later. CommitError when a part is damaged."""
    digest = json_sha256({part.path: part.sha256 for part in manifest.parts_of("labels")})
    kept = read_profile(store, manifest.run_id, digest)
    if kept is not None:
        return kept
    looked_at = (manifest.statuses.get(LABELED, 0), manifest.statuses.get(NO_FACE, 0))
    images = Profile({**Profile.empty().counts, "no_face": looked_at}, Profile.empty().sums)
    profile = reduce(add, (_of_part(store, manifest, part) for part in manifest.parts_of("labels")), images)
    write_profile(store, manifest.run_id, digest, profile)
    return profile


def profile_of_labels(labels: pa.Table) -> Profile:
    """Of faces alone. labels: the columns of `schema.LABELS` that are measured."""
    values = {name: np.asarray(labels[name].drop_null().to_numpy(), np.float64) for name in EDGES}
    counts = {name: tuple(histogram(name, found).tolist()) for name, found in values.items()}
    at = pc.index_in(labels["expression"].drop_null(), value_set=pa.array(CATEGORIES["expression"])).drop_null().to_numpy()
    counts["expression"] = tuple(np.bincount(at, minlength=len(CATEGORIES["expression"])).tolist())
    marked = np.asarray(labels["needs_review"].drop_null().to_numpy(), np.bool_)
    counts["needs_review"] = (int((~marked).sum()), int(marked.sum()))
    counts["no_face"] = (0, 0)
    return Profile(
        {name: counts[name] for name in MEASURES}, {name: float(found[np.isfinite(found)].sum()) for name, found in values.items()}
    )


def _of_part(store: Store, manifest: Manifest, part: Part) -> Profile:
    return profile_of_labels(read_part(store, part, _READ, manifest.run_id))


def _models(manifests: Sequence[Manifest]) -> list[str]:
    return list(dict.fromkeys(map(_pipeline, manifests)))


def _pipeline(manifest: Manifest) -> str:
    """Key of the runs that are compared with each other: `Answering.key`, and what finds the faces, except of earlier releases."""
    answering = Answering(manifest.model_digest, manifest.config.get("prior", "training"), manifest.config.get("precision"))
    smallest = manifest.config.get("min_face")
    if smallest is None:
        return answering.key
    turned = manifest.config.get("turned")
    finest = manifest.config.get("finest_px")
    later = {name: value for name, value in (("turned", turned), ("finest_px", finest)) if value is not None}
    return json_sha256({**later, "answering": answering.key, "min_face": smallest, "detector": manifest.detector})


def _reference(
    store: Store, manifests: Sequence[Manifest], profiles: dict[str, Profile], digest: str, enough: int = ENOUGH
) -> Reference | None:
    found = read_reference(store, digest)
    if found is not None:
        return found
    ours = [manifest for manifest in manifests if _pipeline(manifest) == digest]
    first = next((manifest for manifest in ours if profiles[manifest.run_id].faces >= enough), None)
    return None if first is None else write_reference(store, first.model_name, digest, (first.run_id,), profiles[first.run_id])


def _findings(manifest: Manifest, profile: Profile, reference: Reference | None, limits: Limits) -> RunFindings:
    judged = reference is not None and manifest.run_id not in reference.runs and profile.total("no_face") > 0
    findings = compare_profiles(reference.profile, profile, limits) if judged and reference is not None else ()
    return RunFindings(manifest, profile, reference, findings)
