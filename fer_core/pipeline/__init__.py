"""One shard of a run, from URIs to staged parts.

In: a `run.ShardJob`, which `shard_jobs` makes from the plan. Reading, decoding, detection, alignment and prediction overlap within it;
`label_reuse` takes labels over whose images have not changed. Out: a `run.ShardReceipt`. Next: `commit`.
"""
