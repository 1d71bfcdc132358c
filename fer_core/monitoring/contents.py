"""Everything that the page of a report shows beside the runs: current labels, reviews, quarantine, what ran, examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fer_core.errors import CommitError, QueryError
from fer_core.monitoring.current_labels import CurrentLabels, count_current
from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.face_examples import FaceExamples, choose_faces, no_examples
from fer_core.monitoring.nights import Nights
from fer_core.monitoring.pipelines import Pipeline, pipelines_of, purposes_of
from fer_core.monitoring.quarantined import Quarantined, count_quarantined
from fer_core.monitoring.reviewed import Reviewed, compare_reviews
from fer_core.monitoring.runs import RunFindings
from fer_core.outputs.mark import by_digest
from fer_core.query.session import QueryLimits, open_session
from fer_core.storage.store import Store

LIMITS: Final = QueryLimits(memory="500MB")


@dataclass(frozen=True, slots=True)
class Contents:
    """Of one root, at one time."""

    disclosure: Disclosure
    nights: Nights
    labels: CurrentLabels
    quarantined: Quarantined
    reviewed: Reviewed
    pipelines: Sequence[Pipeline]
    """The newest first."""
    purposes: Sequence[tuple[str, int]]
    """Purpose and number of runs."""
    faces: FaceExamples

    @property
    def named(self) -> list[tuple[str | None, str | None]]:
        """Digest and address of each image that the page names or shows, without the address where it names none."""
        named = [image for some in self.quarantined.examples for image in some] if self.disclosure.names else []
        shown = [face.image for some in (self.faces.sure, self.faces.unsure) for faces in some.values() for face in faces]
        images = dict.fromkeys((image.sha256, image.uri) for image in (*named, *shown))
        return list(images) if self.disclosure.names else by_digest(images)


def read_contents(store: Store, runs: Sequence[RunFindings], disclosure: Disclosure) -> Contents:
    """runs: oldest first. CommitError: a part is missing or damaged; ReviewError: reviews are."""
    try:
        return _read(store, runs, disclosure)
    except QueryError as error:
        raise CommitError(f"a part below {store.url()} cannot be read ({error}): see ferflow verify") from error


def _read(store: Store, runs: Sequence[RunFindings], disclosure: Disclosure) -> Contents:
    with open_session(store, LIMITS) as session:
        labels = count_current(session)
        return Contents(
            disclosure=disclosure,
            nights=Nights.of(runs),
            labels=labels,
            quarantined=count_quarantined(session),
            reviewed=compare_reviews(store, session, labels),
            pipelines=pipelines_of(runs),
            purposes=purposes_of(runs),
            faces=choose_faces(store, session, [run.manifest for run in runs]) if disclosure.faces else no_examples(""),
        )
