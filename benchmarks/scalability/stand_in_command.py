"""`ferflow` whose local workers process no image: `python -m benchmarks.scalability.stand_in_command label ...`.

Workers import the module that ran the command.
"""

import sys

if __name__ == "__mp_main__":
    from benchmarks.scalability import stand_in_shard

    stand_in_shard.install()

if __name__ == "__main__":
    from flows.cli.main import main

    sys.exit(main())
