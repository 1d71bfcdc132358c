"""Delta tables that were registered under a labels root, after a removal of rows."""

from fer_core.errors import StoreError
from fer_core.export.delta import SCHEMAS, refresh
from fer_core.storage.store import Store


def refresh_delta(store: Store) -> dict[str, str]:
    """Correct the registered Delta tables. Where that fails, the removal counts all the same: no log names an image."""
    found = {}
    for table in SCHEMAS:
        try:
            version = refresh(store, table)
        except StoreError as error:
            found[table] = f"not updated: {error}"
            continue
        if version is not None:
            found[table] = f"version {version}"
    return found
