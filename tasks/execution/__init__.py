"""Shards on workers: submission, retries, stragglers, images that kill workers, timeouts.

In: `run.ShardJob`s and a Dask client. Out: their receipts, in any order. Decisions are pure functions; no Prefect here.
"""
