"""`ferflow` that is killed at a step: `python -m tests.faults.deadly label ...`, with DEADLY_STEP and DEADLY_KIND in the environment.

Workers import this module too, as they import whatever ran the command: stand-ins look at their pictures; where the step is one of theirs,
they kill the command.
"""

import os
import sys

from tests.faults.steps import Step, arm


def main(words: list[str] | None = None) -> int:
    """The command. words: its own if None."""
    import tests.faults.small_parts  # noqa: F401
    from flows.cli.main import main as ferflow

    return ferflow(words)


if __name__ == "__mp_main__":
    import tests.faults.quick  # noqa: F401

text = os.environ.get("DEADLY_STEP", "")
if text:
    step = Step.read(text)
    if __name__ == "__main__" and not step.in_worker:
        arm(step, os.environ["DEADLY_KIND"], os.getpid())
    if __name__ == "__mp_main__" and step.in_worker:
        arm(step, os.environ["DEADLY_KIND"], os.getppid())

if __name__ == "__main__":
    sys.exit(main())
