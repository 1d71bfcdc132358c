"""Process one shard of a run, from URIs to staged parts.

In: a `run.ShardJob`, which `shard_jobs` makes from the plan. Reading, decoding, detection, alignment and prediction overlap within a
shard; `label_reuse` reuses the labels of unchanged images. Out: a `run.ShardReceipt`. Next: `commit`.
"""
