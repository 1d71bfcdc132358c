"""`ferflow` whose local workers look at nothing. `python benchmarks/stand_in_command.py label ...`; workers import what ran the command."""

import sys

if __name__ == "__mp_main__":
    import stand_in_shard

    stand_in_shard.install()

if __name__ == "__main__":
    from flows.cli import main

    sys.exit(main())
