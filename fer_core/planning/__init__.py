"""An inventory -> the shards of a run.

In: the inventory and what earlier runs committed. Out: `schema.PLAN`, each image with its shard, cut by expected cost. Next: `pipeline`
processes one shard at a time.
"""
