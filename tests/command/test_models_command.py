import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from fer_core.errors import ModelError
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import multiply_adds
from fer_core.models.store import CARD, resolve_model, shipped_names
from flows.cli import models
from flows.cli.model_page import list_page, validation_accuracy
from tests.support.made_faces import SMALL, small_model, small_model_with_prior


def called(*words: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *words])
    code: int = args.run(args)
    return code


def shown(model: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert called("show", model) == 0
    return capsys.readouterr().out


def model_with(folder: Path, **entries: Any) -> str:
    """A model whose card says more."""
    ref = small_model(folder)
    (folder / CARD).write_text(json.dumps({**ref.card, **entries}), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_card_is_a_page_for_people(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    page, ref = shown(name, capsys), resolve_model(name)
    assert ref.digest in page
    for protocol, row in ref.card["figures"].items():
        line = next(line for line in page.splitlines() if line.startswith(protocol) and "valid" in line)
        for text in (f"{row['n']:,}", f"{row['accuracy']:.2%}", f"{row['macro_f1']:.3f}"):
            assert text in line.split()
    for expression in EXPRESSIONS:
        row = ref.card["figures"]["majority"]["per_class"][expression]
        line = next(line for line in page.splitlines() if line.strip().startswith(expression))
        assert line.split() == [expression, f"{row['support']:,}", f"{row['precision']:.1%}", f"{row['recall']:.1%}", f"{row['f1']:.3f}"]
    assert "million multiply-adds" in page
    assert "training faces" in page
    assert "{" not in page
    assert max(map(len, page.splitlines())) < 140
    assert len(page.splitlines()) < 48


def test_json_is_the_whole_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_with(tmp_path / "model", anything={"at": ["all"]})
    assert called("show", model, "--json") == 0
    assert json.loads(capsys.readouterr().out) == resolve_model(model).card


def test_a_card_that_says_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(str(small_model(tmp_path / "a model").path), capsys)
    assert page.startswith("a model  ")
    assert f"{multiply_adds(SMALL) / 1e6:.0f} million multiply-adds" in page
    assert "temperature 0.500" in page
    assert "below confidence 0.50" in page
    assert "needs_review" in page
    assert f"ferflow models show '{tmp_path / 'a model'}' --json" in page
    for absent in ("accuracy", "trained on", "known gaps", "CARD.md"):
        assert absent not in page


def test_what_a_card_may_say_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_with(
        tmp_path / "model",
        known_gaps=["profile\nviews", "infrared"],
        multiply_adds=123_000_000,
        trained_on=[
            {"name": "ferplus", "counts": {"train": 1234}, "detector": "yunet", "framed_by_points": 0.95},
            {"name": "rafdb", "counts": {}, "detector": "", "framed_by_points": 0},
        ],
        development={"faces": 2000, "protocol": "majority", "accuracy": 0.5, "macro_f1": 0.4, "epoch": 7},
    )
    page = shown(model, capsys)
    for text in ("  - profile views", "  - infrared", "123 million", "ferplus, 1,234 training faces", "95.0% framed by yunet", "rafdb"):
        assert text in page
    assert "2,000 faces, majority: accuracy 50.00%, macro F1 0.400, epoch 7" in page


def test_a_mean_of_weights_and_faces_framed_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    framed = [{"name": "muxspace", "counts": {"train": 7}, "detector": by, "framed_by_points": 1} for by in ("builtin", "yunet")]
    mean_of = [{"digest": letter * 64, "share": 0.5} for letter in "ab"]
    page = shown(model_with(tmp_path / "model", trained_on=framed, mean_of=mean_of), capsys)
    assert page.count("muxspace, 7 training faces") == 1
    assert page.index("framed by builtin") < page.index("framed by yunet")
    assert f"mean of those of {'a' * 12}, {'b' * 12}; " in page


def test_review_rules_of_older_cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = model_with(tmp_path / "old", spec={"temperature": 1.5, "review_confidence": 0.58})
    assert "temperature 1.500; needs_review below confidence 0.58\n" in shown(old, capsys)
    new = model_with(tmp_path / "new", spec={"temperature": 1.5, "review": {"confidence": 0.58, "entropy": 0.7}})
    assert "below confidence 0.58 or above entropy 0.70\n" in shown(new, capsys)
    known = small_model_with_prior(tmp_path / "known")
    page = shown(str(known.path), capsys)
    assert "known; temperature training 1.000, tempered 1.100, balanced 1.200\n" in page
    assert "tempered; needs_review below confidence 0.50 or above entropy 0.90\n" in page
    none = model_with(tmp_path / "none", spec={"temperature": 1.5})
    assert "needs_review" not in shown(none, capsys)


@pytest.mark.parametrize(
    "entries",
    [
        {"figures": "good"},
        {"figures": {"majority": {}}},
        {"trained_on": 5},
        {"trained_on": [{}]},
        {"development": {"faces": 1}},
        {"spec": {"temperature": "warm"}},
        {"spec": 7},
        {"training": 3},
        {"known_gaps": 5},
    ],
)
def test_a_card_of_another_make_is_one_line(tmp_path: Path, entries: dict[str, Any]) -> None:
    model = model_with(tmp_path / "model", **entries)
    with pytest.raises(ModelError, match="damaged model card"):
        called("show", model)
    assert called("show", model, "--json") == 0  # the card as it is
    list_page([resolve_model(model)])


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("list") == 0
    out = capsys.readouterr().out
    assert called("list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in rows] == list(shipped_names())
    for row in rows:
        line = next(line for line in out.splitlines() if line.startswith(row["name"]))
        assert row["digest"][:12] in line
        assert row["bytes"] == (Path(row["path"]) / "weights.safetensors").stat().st_size
        assert f"{row['bytes'] / 1e6:.1f} MB" in line  # none of them is under 0.1 MB
        for protocol in ("majority", "argmax"):
            assert f"{row['figures'][protocol]['accuracy']:.2%}" in line


def test_a_model_without_figures_is_listed(tmp_path: Path) -> None:
    ref = small_model(tmp_path / "model")
    assert list_page([ref])[1].split()[2:4] == ["-", "-"]
    (ref.path / "weights.safetensors").unlink()
    assert any("no weights" in line for line in list_page([ref]))


def test_only_the_validation_split_counts() -> None:
    row = {"accuracy": 0.9, "split": "test"}
    assert validation_accuracy({"figures": {"majority": row}}, "majority") is None
    assert validation_accuracy({"figures": {"majority": {**row, "split": "valid"}}}, "majority") == 0.9
    assert validation_accuracy({"figures": {}}, "majority") is None


def test_promote_list_and_roll_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, models = small_model(tmp_path / "mine"), str(tmp_path / "models")
    assert called("promote", str(mine.path), "--to", models, "--reason", "looks right", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["number"], said["digest"], said["reason"]) == (1, mine.digest, "looks right")
    assert called("list", models) == 0
    page = capsys.readouterr().out
    assert "looks right" in page
    assert f"champion: mine {mine.digest[:12]}" in page
    assert called("rollback", models) == 0
    assert "tiny" in capsys.readouterr().out
    assert called("list", models, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["champion"]["name"] == "tiny"
    assert [one["kind"] for one in listed["promotions"]] == ["promote", "rollback"]
    with pytest.raises(ModelError, match="none before it"):
        called("rollback", models)


def test_what_cannot_be_loaded_is_not_promoted(tmp_path: Path) -> None:
    mine = small_model(tmp_path / "mine")
    (mine.path / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="not the ones the card names"):
        called("promote", str(mine.path), "--to", str(tmp_path / "models"))
    with pytest.raises(ModelError, match="no such folder of models"):
        called("list", str(tmp_path / "none"))
