"""Calls for scripts and notebooks: `fer_core.label_images` and `fer_core.Labeler`, without Prefect and Dask.

In: paths, URLs, encoded bytes, arrays, PIL images, tensors. Out: pandas frames. The work is that of `pipeline`, in this process.
"""
