"""The `ferflow` command: one module a subcommand.

In: arguments. Out: text for people, or one JSON object with --json. Commands call the same flows that a server runs.
"""
