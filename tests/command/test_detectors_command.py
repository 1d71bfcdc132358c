"""`ferflow detectors` as people read it."""

from pathlib import Path

from fer_core.detect.builtin.measured import MEASURED

REPOSITORY = Path(__file__).resolve().parents[2]


def test_help_says_what_touches_the_network(commands):
    told = commands.run("detectors", "pull", "--help").out
    assert "the only download of ferflow itself" in told
    assert "insightface" in told
    assert "--to FOLDER" in told


def test_the_list_keeps_its_keys_and_tells_what_was_measured(commands):
    told = commands.run("detectors", "list", "--json").json
    assert {"detectors", "auto", "folder"} <= told.keys()
    rows = {row["detector"]: row for row in told["detectors"]}
    assert list(rows) == ["builtin", "yunet", "scrfd:FILE", "insightface:PACK"]
    assert all({"detector", "present", "licence", "what", "path", "measured"} == row.keys() for row in rows.values())
    assert Path(rows["builtin"]["path"]).is_file()
    assert (rows["yunet"]["present"], rows["yunet"]["path"]) == (False, None)
    assert rows["yunet"]["measured"][0]["recall_20px"] == MEASURED["yunet"][0].recall_20px
    text = commands.run("detectors", "list").out
    assert "get it with: ferflow detectors pull yunet" in text
    assert "500M: finds" in text


def test_the_figures_are_those_of_the_benchmarks():
    """By the first words of each row of the table."""
    document = (REPOSITORY / "docs" / "benchmarks" / "index.md").read_text("utf-8")
    table = {row.split("|")[1].replace("`", "").strip(): row.split("|")[2:-1] for row in document.splitlines() if row.startswith("| `")}
    for spec, rows in MEASURED.items():
        for row in rows:
            name = f"{spec.partition(':')[0]} {row.variant}".strip()
            cells = next(cells for head, cells in table.items() if head.startswith(name))
            photographs, larger, _, afw, *_, speed = (float(cell) for cell in cells)
            assert (photographs, larger, afw, speed) == (row.recall_20px, row.recall_40px, row.recall_afw, row.images_per_second)
