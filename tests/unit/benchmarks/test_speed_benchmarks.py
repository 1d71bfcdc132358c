"""The benchmarks of speed at their smallest: real work on generated pictures, and stand-ins for whole runs and other people's software."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.accuracy import label_equality
from benchmarks.common import pictures
from benchmarks.scalability import cost_curves
from benchmarks.throughput import (
    against_others,
    against_script,
    all_cores,
    alone,
    relabel_rate,
    stage_limits,
    start_up,
    training_rate,
    workers_speedup,
)
from fer_core.training.config import TrainConfig


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return pictures.varied(tmp_path_factory.mktemp("speed") / "pictures", 6, megapixels=0.1)


def run(module, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, words)])
    module.main()


def fake_job(said):
    """`whole_job.measured`, and the rates it says in turn."""
    speeds = iter(said)
    return lambda source, root, detector, workers: {"steady_images_per_second": next(speeds), "faces": 3, "workers": workers}


def test_two_processes_do_the_work_of_both_kinds(collection):
    files = [str(file) for file in sorted(collection.iterdir())]
    assert alone.decoding()(files[0]).pixels.shape == alone.libjpeg()(files[0]).shape
    assert len(alone.finding()(files[1])) == 1
    assert all_cores.rate(alone.decoding, files, 2) > 0


def test_a_process_that_cannot_begin_fails_the_benchmark():
    with pytest.raises(SystemExit, match="a process of the benchmark failed"):
        all_cores.rate(divmod, [1, 2], 1)  # cannot be called without numbers


def test_rounds_against_the_script_are_written_one_by_one_and_resumed(tmp_path, monkeypatch):
    yunet = tmp_path / "yunet.onnx"
    yunet.touch()
    monkeypatch.setattr(against_script, "measured", fake_job([30.0, 60.0]))
    monkeypatch.setattr(against_script, "script", lambda *_: {"images": 4, "faces": 2, "seconds": 0.2})
    monkeypatch.setattr(against_script, "limits", lambda _: {"decode": 500.0, "decode and detect": 72.0})
    words = ("--generated", "--images", 4, "--yunet", yunet, "--to", tmp_path)
    run(against_script, monkeypatch, *words, "--rounds", 1)
    first = json.loads((tmp_path / "against_script_generated.json").read_text())
    assert [one["ratio"] for one in first["rounds"]] == [pytest.approx(1.5)]
    run(against_script, monkeypatch, *words, "--rounds", 2, "--resume")
    figures = json.loads((tmp_path / "against_script_generated.json").read_text())
    assert [one["ratio"] for one in figures["rounds"]] == [pytest.approx(1.5), pytest.approx(3.0)]
    assert figures["alone"]["decode"] == 500
    assert str(tmp_path) not in figures["command"]
    with pytest.raises(StopIteration):  # other settings, so nothing is kept and a third run is asked for
        run(against_script, monkeypatch, *words[:2], 5, *words[3:], "--resume")


def test_without_yunet_the_job_runs_alone_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FERFLOW_DETECTORS", str(tmp_path / "empty"))
    monkeypatch.setattr(against_script, "measured", fake_job([30.0]))
    monkeypatch.setattr(against_script, "limits", lambda _: {})
    run(against_script, monkeypatch, "--generated", "--images", 2, "--rounds", 1, "--to", tmp_path)
    assert "ferflow runs alone" in capsys.readouterr().out
    (one,) = json.loads((tmp_path / "against_script_generated.json").read_text())["rounds"]
    assert (one["script"], one["ratio"], one["images_per_second"]["ferflow"]) == (None, None, 30.0)
    with pytest.raises(SystemExit, match="no such file"):
        against_script.yunet_file(tmp_path / "nowhere.onnx")


FER = """
class FER:
    def detect_emotions(self, picture):
        height, width = picture.shape[:2]
        return [{"box": (1, 2, width, height), "emotions": {"happy": 0.75, "sad": 0.25}}] if width > 40 else []
"""


def test_the_fer_package_is_asked_in_its_own_environment_and_compared(tmp_path, monkeypatch):
    (tmp_path / "fer").mkdir()
    (tmp_path / "fer" / "__init__.py").touch()
    (tmp_path / "fer" / "fer.py").write_text(FER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "pictures" / "below").mkdir(parents=True)
    for name, side in (("below/large.png", 50), ("small.jpg", 30)):
        cv2.imwrite(str(tmp_path / "pictures" / name), np.zeros((side, side, 3), np.uint8))
    said = against_others.asked(Path(sys.executable), tmp_path / "pictures")
    assert (said["images"], said["faces"]) == (2, 1)
    assert said["said"] == {"below/large.png": [[1, 2, 50, 50, "happy", 0.75]], "small.jpg": []}
    ours = against_others.as_said({"below/large.png": [[0, 0, 50, 50, "happiness", 0.5], [0, 0, 9, 9, "contempt", 0.5]]})
    told = against_others.compared(ours, said)
    assert told == {"faces_ferflow": 2, "faces_fer": 1, "matched": 1, "same_expression": 1.0}


def test_the_largest_face_answers_for_a_picture():
    said = against_others.as_said({"a": [[0, 0, 5, 5, "sad", 0.5], [0, 0, 9, 9, "angry", 0.5]]})
    assert against_others._largest(said["a"]) == "anger"
    scored = against_others._scored({"a": "anger", "b": "fear"}, {"a": "anger"}, ["a"])
    assert scored == {"found": 0.5, "accuracy": 0.5, "accuracy_where_found": 1.0, "accuracy_where_both_found": 1.0}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot confine a process to a core")
def test_a_second_worker_is_compared_with_one_that_has_one_core(tmp_path, monkeypatch):
    free, speeds = os.sched_getaffinity(0), iter([10.0, 15.0, 19.0])
    seen = []

    def measured(source, root, detector, workers):
        seen.append((workers, len(os.sched_getaffinity(0))))
        return {"steady_images_per_second": next(speeds)}

    monkeypatch.setattr(workers_speedup, "measured", measured)
    rates = iter([20.0, 40.0])
    monkeypatch.setattr(workers_speedup, "rate", lambda *_: next(rates))
    run(workers_speedup, monkeypatch, "--images", 2, "--rounds", 1, "--to", tmp_path)
    (one,) = json.loads((tmp_path / "workers_speedup.json").read_text())["rounds"]
    assert (one["speedup"], one["speedup_over_unconfined"], one["machine_allows"]) == pytest.approx((1.9, 19 / 15, 2.0))
    assert seen == [(1, 1), (1, len(free)), (2, len(free))]
    assert os.sched_getaffinity(0) == free


def test_each_stage_stands_beside_its_limit(tmp_path):
    figures = {
        "network": stage_limits.network(4, matrix=128),
        "detector": stage_limits.detector(2, matrix=128),
        "write": stage_limits.writing(tmp_path, 2, 3),
    }
    for name, one in figures.items():
        assert one["share"] == pytest.approx(one["per_second"] / one["limit_per_second"]), name
        assert one["per_second"] > 0, name
    assert figures["network"]["gigaflop"] == pytest.approx(4 * 56_076_288 / 1e9)
    assert figures["write"]["faces"] == 6


SPAWNING = """
import json, multiprocessing, pathlib, sys

def hold(file):
    data = bytearray(30_000_000)
    while not pathlib.Path(file).exists():
        data[0] ^= 1

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=hold, args=(sys.argv[1],))
    worker.start()
    worker.join()
    print(json.dumps({"faces": 7}))
"""


def test_the_memory_of_a_commands_workers_is_watched(tmp_path, monkeypatch):
    (tmp_path / "spawning.py").write_text(SPAWNING)
    asked = cost_curves.resident

    def seen(process):
        size = asked(process)
        if size > 30e6:
            (tmp_path / "seen").touch()
        return size

    monkeypatch.setattr(cost_curves, "resident", seen)
    said, peak = cost_curves.watched([sys.executable, str(tmp_path / "spawning.py"), str(tmp_path / "seen")], every=0.01)
    assert said == {"faces": 7}
    assert peak > 30e6


def test_points_of_a_curve_are_kept_when_it_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(cost_curves, "measured_point", lambda *point: {"point": point})
    run(cost_curves, monkeypatch, "--only", "faces", "--to", tmp_path)
    run(cost_curves, monkeypatch, "--only", "sizes", "--long", "--resume", "--to", tmp_path)
    curves = json.loads((tmp_path / "cost_curves.json").read_text())["curves"]
    assert [one["point"][1] for one in curves["faces"]] == [0, 1, 5, 50]
    assert [one["point"][0] for one in curves["sizes"]] == [100, 1_000, 10_000, 100_000]


def test_a_training_step_is_measured_beside_the_bare_network():
    figures = training_rate.measured(TrainConfig(batch=4, sam_radius=0.05), seconds=0)
    assert (figures["batch"], figures["passes"]) == (4, 2)
    assert figures["share"] == pytest.approx(figures["steps_per_second"] / figures["limit_steps_per_second"])
    assert figures["faces_per_second"] == pytest.approx(4 * figures["steps_per_second"])
    assert training_rate.recipe("base").batch == 256


def test_crops_are_decoded_and_predicted_as_the_limit_of_relabelling(tmp_path):
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    assert len(relabel_rate.decoded_and_predicted()([cv2.imencode(".png", crop)[1].tobytes()] * 3)) == 3
    assert relabel_rate.other_model(tmp_path / "other", 1.5).is_dir()


def test_the_reference_is_a_checkout_that_goes_away(tmp_path):
    here = tmp_path / "repository"
    git = ["git", "-C", str(here), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    here.mkdir()
    (here / "file.txt").write_text("before")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *words], check=True)
    (here / "file.txt").write_text("after")
    with label_equality.checkout("HEAD", tmp_path / "reference", here) as folder:
        assert (folder / "file.txt").read_text() == "before"
    assert not folder.exists()
    nowhere = label_equality.checkout("no-such", tmp_path / "again", here)
    with pytest.raises(SystemExit, match="needs the repository with its history"), nowhere:
        pass


def test_where_the_time_of_a_start_goes(monkeypatch, capsys, tmp_path):
    def run(words, home):
        printed = "" if "-c" in words else '{"startup_seconds": 2.0}'
        return {"wall": 1.5 if "-c" in words else 6.0, "cpu": {"command": 1.0, "Prefect's API": 3.0}, "printed": printed}

    monkeypatch.setattr(start_up, "timed", run)
    start_up.main(["--rounds", "1", "--fresh", "--to", str(tmp_path)])
    told = capsys.readouterr().out
    assert "| ferflow | 6.00 | 4.00 | 2.0 | Prefect's API 3.00, command 1.00 |" in told
    assert "ferflow, fresh home" in told
    assert json.loads((tmp_path / "start_up.json").read_text())["runs"]["imports"]["wall"] == 1.5


def test_the_processes_of_a_command_are_counted_by_role(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))  # uvicorn'])"
    told = start_up.timed([sys.executable, "-c", code], tmp_path)
    assert told["cpu"]["Prefect's API"] > 0
    assert told["wall"] > 0
    with pytest.raises(SystemExit, match="exit code 3"):
        start_up.timed([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
