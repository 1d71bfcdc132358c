"""Steps of `make label` around the command: two real pictures as a source, and one query of the tables.

python -m flows.cli.demo pictures FOLDER
python -m flows.cli.demo query ROOT
"""

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fer_core.errors import FerflowError, SourceError, StoreError, UsageError
from fer_core.export.current_view import views
from fer_core.isolation import OFFLINE
from fer_core.storage.store import open_store
from fer_core.storage.uri import scheme
from fer_core.text import visible, visible_lines
from flows.output import print_line

if TYPE_CHECKING:
    from rich.console import Console

PICTURES: Final = (("skimage", "data/astronaut.png"), ("insightface", "data/images/t1.jpg"))
"""Installed packages and pictures in them: NASA's portrait of Eileen Collins; a group of six."""

QUESTION: Final = "Which expressions appear, how confident is the model, and how many faces need review?"

QUERY: Final = """SELECT
  expression,
  count(*) AS faces,
  count(DISTINCT image_uri) AS pictures,
  round(avg(confidence), 2) AS mean_confidence,
  round(median(face_size_px))::INTEGER AS median_face_px,
  count(*) FILTER (needs_review) AS to_review
FROM current
GROUP BY expression
ORDER BY faces DESC, expression"""


def demo_pictures(folder: Path) -> list[Path]:
    """Copy the two pictures into a folder, unless they are there. SourceError when a package lacks its picture."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_copy(package, path, folder) for package, path in PICTURES]


def _copy(package: str, path: str, folder: Path) -> Path:
    spec = find_spec(package)  # importing insightface would take seconds
    source = Path(spec.origin).parent / path if spec and spec.origin else None
    if source is None or not source.is_file():
        raise SourceError(f"{package} is installed without its image {path}: give a folder of your own with SOURCE=")
    target = folder / source.name
    if not target.exists():
        shutil.copyfile(source, target)
    return target


def answer(root: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run `QUERY` on the view `current` of a labels root. Returns column names and rows; no rows while no face has been labelled.

    StoreError when DuckDB cannot read them.
    """
    import duckdb

    store = open_store(root)
    with duckdb.connect(config=OFFLINE) as connection:
        if scheme(root) != "file":
            connection.register_filesystem(store.fs)  # DuckDB's own way to a store is an extension that it downloads
        if not store.list_files("labels"):
            return [], []
        try:
            connection.execute(views(store))
            cursor = connection.execute(QUERY)
        except duckdb.Error as error:
            raise StoreError(f"DuckDB cannot read {root}: {str(error).splitlines()[0]}") from error
        return [str(column[0]) for column in cursor.description or []], cursor.fetchall()


def typed(root: str) -> str:
    """The query as text for a terminal, after its views."""
    return f"{views(open_store(root))}\n\n{QUERY};"


def show_query(root: str, console: "Console") -> None:
    """Print the query and its result."""
    from rich.table import Table

    columns, rows = answer(root)
    console.print()
    console.print(QUESTION, style="bold", soft_wrap=True)
    console.print()
    console.print(visible_lines(typed(root)), style="dim", soft_wrap=True, highlight=False, markup=False)
    console.print()
    if not rows:
        console.print("The root has no labelled face yet.")
        return
    table = Table(title="DuckDB's answer", title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else visible(str(value)) for value in row))
    console.print(table)
    console.print()


def main(arguments: Sequence[str]) -> int:
    """`pictures FOLDER` or `query ROOT`; 1 and one line when it fails, 2 on wrong use."""
    try:
        match arguments:
            case ["pictures", folder]:
                demo_pictures(Path(folder))
            case ["query", root]:
                from rich.console import Console

                show_query(root, Console())
            case _:
                raise UsageError("usage: python -m flows.cli.demo pictures FOLDER | query ROOT")
    except FerflowError as error:
        print_line(f"ferflow: {error}")
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
