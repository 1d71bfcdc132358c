"""Dask clusters, local or remote, one module a kind.

In: a cluster's `spec`. Out: a connected Dask client whose workers have this release. Next: `execution` submits shards to it.
"""
