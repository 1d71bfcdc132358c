"""From a collection of images to trustworthy expression labels. Imports neither prefect nor dask.

The folders in the order in which the data moves:

collection  a source                       -> the inventory of its images
planning    inventory and earlier runs     -> shards of the images that are new or have changed
decode      bytes                          -> RGB pixels within limits
detect      pixels                         -> faces: boxes, five points, scores
align       faces                          -> aligned crops with quality measures
predict     crops                          -> expression probabilities
tables      images, faces, predictions     -> Parquet parts
pipeline    one shard, all of the above    -> staged parts and a receipt
commit      receipts                       -> a committed run that readers see whole
export, query, gallery, review, monitoring read committed runs; `relabel` labels kept crops again
erasure     an address, digest or face id  -> every place that names it
faceset     data sets and reviews          -> training sets
training    face sets (with `losses`)      -> models, gated against the champion
models      networks as files; evaluation measures them; gpu runs detector and network on a GPU
storage     all reads and writes
run         configuration, jobs and receipts of a run
api         `label_images`, `Labeler` and `show`: the pipeline as a call, for scripts and notebooks

The modules at the root are the shared vocabulary: `labels`, `types`, `errors` and small helpers without state.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from fer_core.isolation import silence_libraries

if TYPE_CHECKING:
    from fer_core.api.labeler import Labeler, label_images
    from fer_core.api.shown_images import show
    from fer_core.query.read_labels import read_labels

__all__ = ["Labeler", "label_images", "read_labels", "show"]

silence_libraries()  # here, because every module that loads ONNX Runtime or OpenCV is below this package

_LAZY: Final = {
    "Labeler": "fer_core.api.labeler",
    "label_images": "fer_core.api.labeler",
    "read_labels": "fer_core.query.read_labels",
    "show": "fer_core.api.shown_images",
}
"""Names for scripts and notebooks, and the modules that they load when they are first used."""


def __getattr__(name: str) -> Any:  # noqa: ANN401  (as Python calls it)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
