"""Finished shards -> a committed run. The commit is atomic: every reader sees the whole run or nothing.

In: receipts of staged parts. `coalesce` merges them, `publish` moves them and writes the manifest last; `lease` excludes other writers,
and `recovery` finishes or removes what interrupted runs left. Out: a manifest; `reader` and `verify` read committed runs.
"""
