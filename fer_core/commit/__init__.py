"""Finished shards -> a committed run that every reader sees whole or not at all.

In: receipts of staged parts. `coalesce` merges them, `publish` moves them and writes the manifest last; `lease` keeps other runs away,
and `recovery` finishes or removes what killed runs left. Out: a manifest; `reader` and `verify` read committed runs.
"""
