"""The line with the result of a task: in Prefect's log of the task run, and for the command's progress."""

from prefect import get_run_logger
from prefect.context import TaskRunContext

from fer_core.text import visible
from tasks.execution.progress import stage


def log_found(line: str) -> None:
    """Log one line of the task run; outside of one there is no log."""
    if TaskRunContext.get() is not None:
        get_run_logger().info("%s", line)
    stage(visible(line))
