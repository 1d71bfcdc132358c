"""The finder that waits for Prefect's settings disturbs no other import."""

import subprocess
import sys

from tests.support.processes import REPOSITORY

ANOTHER_IMPORT_MEANWHILE = """
import sys

import flows

before, seen = tuple(sys.meta_path), []
for finder in sys.meta_path:  # as an import in another thread does: by position, without a lock over the whole list
    seen.append(finder)
    if len(seen) == 1:
        import prefect.settings
missed = [finder for finder in before if finder not in seen]
assert not missed, missed
from prefect.settings.sources import FilteredDotEnvSettingsSource as changed
print(changed._load_env_vars.__module__)
"""


def test_no_finder_is_passed_over_by_an_import_that_goes_on_meanwhile():
    """Regression: it took itself out of the list, and `from cryptography... import ed25519` in the thread that starts workers failed."""
    command = [sys.executable, "-c", ANOTHER_IMPORT_MEANWHILE]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == ["flows.server.prefect_settings"]
