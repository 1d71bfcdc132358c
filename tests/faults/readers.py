"""A reader in a process of its own that asks DuckDB for both tables again and again, and writes down whatever it should never see."""

from multiprocessing.connection import Connection

from tests.faults.forked import SERVER

PAUSES = {"local": 0.05, "s3": 0.5}
"""Seconds between two questions; over S3 a question costs many requests."""


class Reader:
    """The process, which reads by now. `ended` gives what it has seen."""

    def __init__(self, root: str) -> None:
        self._ours, theirs = SERVER.Pipe()
        pause = PAUSES["s3" if root.startswith("s3://") else "local"]
        self._process = SERVER.Process(target=_ask, args=(root, theirs, pause), daemon=True)
        self._process.start()
        theirs.close()
        assert self._ours.recv() == "reading"

    def ended(self) -> dict[str, object]:
        """`questions`, and what was `wrong`, one line each."""
        self._ours.send("stop")
        seen = self._ours.recv()
        self._process.join()
        return seen


def _ask(root: str, ours: Connection, pause: float) -> None:
    """Ask, look, write down."""
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 1")
    database.execute("SET enable_progress_bar = false")
    if root.startswith("s3://"):
        import s3fs

        database.register_filesystem(s3fs.S3FileSystem(use_listings_cache=False))
    questions, wrong = 0, []
    before: dict[str, set[tuple[object, ...]]] = {"labels": set(), "images": set()}
    while True:
        try:
            # images first: each image's labels were there before it
            images, labels = (_read(database, root, table) for table in ("images", "labels"))
            wrong += _wrong(images, labels, before)
        except duckdb.Error as error:
            wrong.append(f"error: {' '.join(str(error).split())[:300]}")
        questions += 1
        if questions == 1:
            ours.send("reading")
        if ours.poll(pause):
            break
    ours.send({"questions": questions, "wrong": list(dict.fromkeys(wrong))[:20]})


def _read(database, root: str, table: str) -> list[tuple[object, ...]]:
    """Every row of a table: run, image, then the face or the number of faces, then the run that its folder names."""
    last = "face_index" if table == "labels" else "n_faces"
    files = f"read_parquet('{root}/{table}/**/*.parquet', hive_partitioning = true)"
    return database.execute(f"SELECT run_id, image_uri, {last}, run, run_date IS NULL FROM {files}").fetchall()


def _wrong(images, labels, before) -> list[str]:
    found = []
    keys = {"images": [row[:2] for row in images], "labels": [row[:3] for row in labels]}
    for table, rows in keys.items():
        if len(set(rows)) < len(rows):
            found.append(f"twice in {table}: {len(rows) - len(set(rows))} rows")
        if before[table] - set(rows):
            found.append(f"gone from {table}: {len(before[table] - set(rows))} rows")
        before[table] = set(rows)
    if any(row[0] != row[3] or row[4] for row in [*images, *labels]):
        found.append("a row in another run's folder")
    counts: dict[tuple[object, ...], int] = {}
    for run_id, uri, *_ in labels:
        counts[run_id, uri] = counts.get((run_id, uri), 0) + 1
    if any(counts.get((run_id, uri), 0) != (faces or 0) for run_id, uri, faces, *_ in images):
        found.append("an image without its labels")
    return found
