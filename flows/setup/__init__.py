"""What a flow decides before it starts: parameters -> a checked run configuration.

In: the parameters of a form or a command. Out: a `run.RunConfig` and its lease, or one line that says what is wrong.
"""
