"""Prefect flows, one module each with its parameters, and the ferflow command.

In: parameters from a form, a schedule or the command line. `setup` checks them, the flow calls the stages in `tasks`. `server` serves the
flows with their schedules, `cli` runs them once.
"""

from flows.server.prefect_settings import watch_import

watch_import()
