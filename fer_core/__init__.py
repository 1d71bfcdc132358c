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
export, gallery, review, monitoring        read committed runs; `relabel` labels kept crops again
erasure     an address, digest or face id  -> every place that names it
faceset     data sets and reviews          -> training sets
training    face sets (with `losses`)      -> models, gated against the champion
models      networks as files; evaluation measures them; gpu runs detector and network on a GPU
storage     all reads and writes

The modules at the root are the shared vocabulary: `labels`, `types`, `errors`, `run` and small helpers without state.
"""

from fer_core.isolation import silence_libraries

silence_libraries()  # here, because every module that loads ONNX Runtime or OpenCV is below this package
