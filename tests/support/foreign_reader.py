"""What another user can read below a folder: `python -m tests.support.foreign_reader FOLDER`. One JSON array of paths of files."""

import json
import os
import sys

from tests.support.second_user import become


def readable(folder: str) -> list[str]:
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            try:
                with open(path, "rb") as stream:
                    stream.read(1)
            except OSError:
                continue
            found.append(path)
    return sorted(found)


if __name__ == "__main__":
    become()
    sys.stdout.write(json.dumps(readable(sys.argv[1])))
