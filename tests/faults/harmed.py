"""`ferflow` whose local workers come to harm: `python -m tests.faults.harmed label ...`. Workers import whatever ran the command."""

import sys

if __name__ == "__mp_main__":
    from tests.faults import harm  # noqa: F401

if __name__ == "__main__":
    from flows.cli.main import main

    sys.exit(main())
