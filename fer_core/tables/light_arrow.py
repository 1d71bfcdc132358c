"""PyArrow without pandas, which it imports, where it is installed, at its first conversion of a list: a fifth of a second of a process."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _NoPandas:
    """A finder for which pandas is not installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return None


def keep_pandas_out() -> None:
    """From now on PyArrow converts lists without pandas. Conversions to pandas import it as ever.

    For processes that only ferflow uses: where a list might be a Series, PyArrow would not recognise it.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_NoPandas)
