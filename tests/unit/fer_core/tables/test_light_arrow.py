"""PyArrow in processes that do not need pandas."""

import subprocess
import sys

import pytest

CONVERTED = """
import sys
import pyarrow as pa
from fer_core.tables.light_arrow import keep_pandas_out
if "light" in sys.argv:
    keep_pandas_out()
table = pa.table({"a": ["x", None], "b": pa.array([1.5, 2.5])})
loaded = "pandas" in sys.modules
import pandas
frame = table.to_pandas()
print(loaded, table.to_pylist(), list(frame["b"]), pa.array(frame["b"]).to_pylist())
"""


@pytest.mark.parametrize("way", ["light", "usual"])
def test_a_list_is_converted_without_pandas_and_a_table_to_pandas(way):
    """`usual` shows what this is for: when PyArrow no longer does that, the module can go."""
    done = subprocess.run([sys.executable, "-c", CONVERTED, way], capture_output=True, text=True, check=True)
    assert done.stdout == f"{way == 'usual'} [{{'a': 'x', 'b': 1.5}}, {{'a': None, 'b': 2.5}}] [1.5, 2.5] [1.5, 2.5]\n"


def test_where_pandas_is_loaded_nothing_changes():
    code = "import pandas, sys; from fer_core.tables.light_arrow import keep_pandas_out; keep_pandas_out(); print(len(sys.meta_path))"
    plain = "import pandas, sys; import fer_core.tables.light_arrow; print(len(sys.meta_path))"
    said = [subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, check=True).stdout for one in (code, plain)]
    assert said[0] == said[1]
