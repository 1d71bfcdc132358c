import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_core.errors import StoreError, TrainingError
from fer_core.evaluation.corruption import CORRUPTIONS
from fer_core.evaluation.evaluate import Evaluation, score
from fer_core.evaluation.intervals import wilson
from fer_core.evaluation.plots import Scored, Trial, confusion_png, curves_png, make_folder, reliability_png, robustness_png
from fer_core.evaluation.plots.paper import printed
from fer_core.evaluation.training_history import EpochRecord
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORED = Scored("tiny", "0123456789abcdef" * 4, "valid", "majority")
LONG = Scored("a$model_with^a$ very long name that goes on", "f" * 64, "valid", "majority")


def figures(classes: tuple[str, ...] = EXPRESSIONS, count: int = 900, seed: int = 0) -> Evaluation:
    rng = np.random.default_rng(seed)
    truth = rng.choice([EXPRESSIONS.index(name) for name in classes], count)
    logits = rng.normal(0, 1.2, (count, 8))
    logits[np.arange(count), truth] += 2
    return score(softmax(logits), truth, classes)


def history(epochs: int) -> list[EpochRecord]:
    return [
        EpochRecord(e, 2 + 1 / e, 1 + 1 / e, 0.8 - 0.3 / e - 0.001 * abs(e - 7), 0.6 - 0.4 / e, 0.1 / e, 60.0) for e in range(1, epochs + 1)
    ]


def trials(count: int) -> list[Trial]:
    accuracy = {kind: tuple(0.8 - 0.1 * strength for strength in range(1, 6)) for kind in CORRUPTIONS}
    return [Trial(f"model {index} of a long name", f"{index}" * 64, 0.86, accuracy) for index in range(count)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> "list[Figure]":
    """Every figure that is saved."""
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, *args: Any, **kwargs: Any) -> None:
        kept.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


def words(figure: "Figure") -> list[Any]:
    """Texts that can be seen; of an axis's ticks only those within its limits."""
    found = list(figure.texts)
    for axes in figure.axes:
        titles = [axes.title, axes._left_title, axes._right_title]  # type: ignore[attr-defined]
        found += [*axes.texts, *titles, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks():
                if min(low, high) - 1e-9 <= tick.get_loc() <= max(low, high) + 1e-9:
                    found += [label for label in (tick.label1, tick.label2) if label.get_visible()]
    for legend in filter(None, [*figure.legends, *(axes.get_legend() for axes in figure.axes)]):
        found += legend.get_texts()
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def check_layout(figure: "Figure") -> None:
    """Nothing leaves the sheet, and no two texts touch."""
    places = [(text.get_text(), text.get_window_extent()) for text in words(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    for text, place in places:
        inside = place.x0 >= 0 and place.y0 >= 0 and place.x1 <= width and place.y1 <= height
        assert inside, f"{text!r} leaves the sheet"
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = a.x1 <= b.x0 + 0.5 or b.x1 <= a.x0 + 0.5 or a.y1 <= b.y0 + 0.5 or b.y1 <= a.y0 + 0.5
        assert apart, f"{one!r} touches {other!r}"


@pytest.mark.parametrize("scored", [SCORED, LONG], ids=["short", "long"])
@pytest.mark.parametrize("count", [2, 7, 8])
def test_confusion(drawn: "list[Figure]", tmp_path: Path, count: int, scored: Scored) -> None:
    result = figures(EXPRESSIONS[:count])
    confusion_png(result, scored, tmp_path / "confusion.png")
    check_layout(drawn[0])
    said = [text.get_text() for text in words(drawn[0])]
    assert scored.digest[:12] in said[0]
    assert said[1] == f"valid split, majority protocol, {result.n:,} faces"
    assert f"{result.accuracy:.2%}" in said[2]
    cells = {
        (round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in drawn[0].axes[0].texts if t.get_fontsize() > 9.4
    }
    for row, counts in enumerate(result.confusion):
        assert [cells[column, row] for column in range(count)] == [f"{each:,}" for each in counts]
    assert [label.get_text().strip() for label in drawn[0].axes[0].get_xticklabels()] == list(result.classes)
    image = drawn[0].axes[0].images[0].get_array()
    assert np.asarray(image) == pytest.approx(np.array(result.confusion) / np.array(result.confusion).sum(1, keepdims=True))


def test_confusion_with_a_class_that_never_occurs_and_one_never_said(drawn: "list[Figure]", tmp_path: Path) -> None:
    p = np.zeros((3, 8))
    p[:, 0] = 1
    confusion_png(score(p, np.array([0, 0, 1]), EXPRESSIONS), SCORED, tmp_path / "confusion.png")
    check_layout(drawn[0])
    said = [text.get_text() for text in words(drawn[0])]
    assert said.count("never") == 7
    assert said.count("none") == 6


def test_reliability(drawn: "list[Figure]", tmp_path: Path) -> None:
    result = figures(count=5000)
    reliability_png(result, SCORED, tmp_path / "reliability.png")
    check_layout(drawn[0])
    bins = result.reliability
    said = " ".join(text.get_text() for text in words(drawn[0]))
    assert f"(ECE) {result.ece:.3f}" in said
    below, above = drawn[0].axes
    assert [bar.get_height() for bar in below.patches] == bins.faces.tolist()
    points = next(line for line in above.get_lines() if line.get_marker() == "o")
    some = bins.faces > 0
    assert np.allclose(points.get_xdata(), bins.confidence[some])
    assert np.allclose(points.get_ydata(), bins.accuracy[some])
    diagonal = next(line for line in above.get_lines() if line.get_marker() != "o")
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]


def test_reliability_of_one_face(drawn: "list[Figure]", tmp_path: Path) -> None:
    reliability_png(figures(count=1), SCORED, tmp_path / "reliability.png")
    check_layout(drawn[0])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_interval(count: int, part: float) -> None:
    right = round(part * count)
    low, high = wilson(np.array([right]), np.array([count]))
    assert 0 <= low[0] <= right / count + 1e-12
    assert right / count - 1e-12 <= high[0] <= 1
    for end in (low[0], high[0]):  # by its definition: the share is 1.96 deviations away from the end
        if 1e-9 < end < 1 - 1e-9:
            assert abs(right / count - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / count), abs=1e-9)


@pytest.mark.parametrize("epochs", [1, 2, 24, 300])
def test_curves(drawn: "list[Figure]", tmp_path: Path, epochs: int) -> None:
    records = history(epochs)
    curves_png(records, tmp_path / "curves.png", "tiny")
    check_layout(drawn[0])
    losses, scores, rates = (drawn[0].axes[index] for index in (0, 1, 2))
    by_label = {line.get_label(): line for axes in (losses, scores, rates) for line in axes.get_lines()}
    assert list(by_label["training loss"].get_ydata()) == [record.train_loss for record in records]
    assert list(by_label["held-back log loss"].get_ydata()) == [record.dev_loss for record in records]
    assert list(by_label["accuracy"].get_ydata()) == [record.dev_accuracy for record in records]
    assert list(by_label["macro F1"].get_ydata()) == [record.dev_macro_f1 for record in records]
    assert list(by_label["learning rate"].get_ydata()) == [record.learning_rate for record in records]
    best = max(records, key=lambda record: record.dev_accuracy).epoch
    assert by_label[f"best epoch ({best})"].get_xdata()[0] == best
    ticks = [tick for tick in losses.get_xticks() if 1 <= tick <= epochs]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


def test_curves_mark_the_epoch_they_are_told(drawn: "list[Figure]", tmp_path: Path) -> None:
    curves_png(history(9), tmp_path / "curves.png", best=3)
    said = " ".join(text.get_text() for text in words(drawn[0]))
    assert "best epoch 3" in said
    assert "best epoch (3)" in said


def test_curves_of_a_loss_that_ran_away(tmp_path: Path) -> None:
    records = [replace(record, train_loss=float("nan"), dev_loss=float("inf")) for record in history(3)]
    curves_png(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


def test_curves_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no epoch"):
        curves_png([], tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("count", [1, 2, 6])
def test_robustness(drawn: "list[Figure]", tmp_path: Path, count: int) -> None:
    models = trials(count)
    robustness_png(models, "some faces", tmp_path / "robustness.png")
    check_layout(drawn[0])
    assert [axes.get_title("left") for axes in drawn[0].axes] == [kind.replace("_", " ") for kind in CORRUPTIONS]
    for axes, kind in zip(drawn[0].axes, CORRUPTIONS, strict=True):
        assert [list(line.get_ydata()) for line in axes.get_lines()] == [[model.clean, *model.accuracy[kind]] for model in models]
    told = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert [model.digest[:12] in text for model, text in zip(models, told, strict=True)] == [True] * count
    assert models[0].corrupted == pytest.approx(0.5)


def test_same_figures_same_bytes_whatever_the_user_set_up(tmp_path: Path) -> None:
    import matplotlib as mpl

    confusion_png(figures(), SCORED, tmp_path / "one.png")
    with mpl.rc_context({"font.size": 31, "savefig.dpi": 20, "text.usetex": True}):
        confusion_png(figures(), SCORED, tmp_path / "two.png")
        assert mpl.rcParams["font.size"] == 31
    confusion_png(figures(seed=1), SCORED, tmp_path / "other.png")
    one, two, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 900


def test_matplotlib_loads_late_and_without_a_display(tmp_path: Path) -> None:
    code = f"""
import sys, warnings
warnings.simplefilter("error")
import fer_core.evaluation.plots
from fer_core.evaluation.training_history import EpochRecord
from pathlib import Path
assert "matplotlib" not in sys.modules
fer_core.evaluation.plots.curves_png([EpochRecord(1, 1.0, 1.0, 0.5, 0.5, 0.1, 1.0)], Path({str(tmp_path / "curves.png")!r}))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    environment = {"PATH": "", "HOME": str(tmp_path), "MPLBACKEND": "tkagg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[4], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "shown"), [("tiny", "tiny"), ("größer", "größer"), ("表情\n\x07", "????"), ("x" * 50, "x" * 37 + "..."), ("", "")]
)
def test_names_as_the_font_prints_them(name: str, shown: str) -> None:
    assert printed(name) == shown


def test_a_name_of_any_letters_draws_without_a_warning(tmp_path: Path) -> None:
    confusion_png(figures(), replace(SCORED, model="表情 $x_{$ \\frac"), tmp_path / "confusion.png")


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=re.escape(f"cannot write plots to {place} (")):
            make_folder(place)
    with pytest.raises(StoreError, match="cannot write the plot"):
        curves_png(history(2), tmp_path / "file" / "curves.png")
    with pytest.raises(StoreError, match="cannot write the plot"):
        curves_png(history(2), tmp_path)


def test_folders_are_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    curves_png(history(2), tmp_path / "c" / "d" / "curves.png")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "c" / "d" / "curves.png").is_file()
