"""Prefect tasks: one module a stage of a flow, thin over fer_core.

In: what a flow decided. Out: what the next stage needs, one log line, and `artifacts` for the UI.
`clusters` and `execution` run shards on Dask.
"""

from tasks.log_records import clean_log_records

clean_log_records()  # here, since whatever logs imports this package first: commands, flows of a work pool, Dask workers
