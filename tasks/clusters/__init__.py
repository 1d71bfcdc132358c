"""Dask clusters, local or remote, one module a kind.

In: a `ClusterBackend`, from a form or text. Out: a Dask client whose workers have this release. Next: `execution` submits shards to it.
"""
