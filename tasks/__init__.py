"""Prefect tasks: one module a stage of a flow, thin over fer_core.

In: parameters from a flow. Out: input of the next stage, one log line, and `artifacts` for the UI.
`clusters` and `execution` run shards on Dask.
"""

from tasks.log_records import clean_log_records

clean_log_records()  # here, because all processes that log import this package first: commands, flows of a work pool, Dask workers
