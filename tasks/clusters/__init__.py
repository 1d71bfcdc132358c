"""Dask clusters, local or remote, one module per kind.

In: a `ClusterBackend`, from a form or text. Out: a Dask client whose workers run this release. Next: `execution` submits shards to it.
"""
