"""Prefect tasks: thin verbs over fer_core."""

from tasks.log_records import clean_log_records

clean_log_records()  # here, since whatever logs imports this package first: commands, flows of a work pool, Dask workers
