"""The page of speed: tables and plots from the JSON files that the benchmarks left in a folder; what is missing is "not measured".

python -m benchmarks.common.speed_page FIGURES --page docs/benchmarks/speed.md --plots docs/images/
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.speed_goals import MISSING, Figures, goals
from benchmarks.common.speed_plots import PLOTS, drawn

NAMES = (
    "against_script",
    "against_script_generated",
    "against_detection",
    "against_detection_as_they_are",
    "insightface",
    "fer",
    "stage_limits",
    "cost_curves",
    "relabel_rate",
    "training_rate",
    "workers_speedup",
    "label_equality",
    "simulated_cluster",
    "orchestration",
    "flat_memory",
    "gpu",
)
ELSEWHERE = {
    "simulated_cluster": ("Simulated clusters of 64 and 1,000 workers", "scale-out.md"),
    "orchestration": ("What Prefect and Dask add to a run", "scale-out.md"),
    "flat_memory": ("Memory from a thousand images to a million", "scale-out.md"),
    "gpu": ("One GPU", "gpu.md"),
}
COMMANDS = {
    "against_script": "throughput.against_script --photos PHOTOS --yunet YUNET.onnx --to FIGURES",
    "against_script_generated": "throughput.against_script --generated --yunet YUNET.onnx --to FIGURES",
    "against_detection": "throughput.against_detection PHOTOS YUNET.onnx --megapixels 0.7 --side 640 --to FIGURES",
    "against_detection_as_they_are": "throughput.against_detection COMPOSED YUNET.onnx --as-they-are --side 1280 --to FIGURES",
    "insightface": "throughput.against_others --photos PHOTOS --scrfd SCRFD.onnx --to FIGURES",
    "fer": "throughput.against_others --photos PHOTOS --fer-python ENVIRONMENT/bin/python --muxspace MUXSPACE --to FIGURES",
    "stage_limits": "throughput.stage_limits --photos PHOTOS --to FIGURES",
    "cost_curves": "scalability.cost_curves --to FIGURES",
    "relabel_rate": "throughput.relabel_rate --to FIGURES",
    "training_rate": "throughput.training_rate --to FIGURES",
    "workers_speedup": "throughput.workers_speedup --to FIGURES",
    "label_equality": "accuracy.label_equality --photos PHOTOS --to FIGURES",
}
"""What to type where nothing was measured."""

Section = Callable[[dict[str, Any]], list[str]]


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="folder with the JSON files")
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--plots", type=Path, required=True, help="folder for the PNG files; the page links them relative to its own")
    args = parser.parse_args()
    figures = read(args.figures)
    plots = drawn(figures, args.plots)
    args.page.parent.mkdir(parents=True, exist_ok=True)
    links = {name: Path(os.path.relpath(file, args.page.parent)).as_posix() for name, file in plots.items()}
    args.page.write_text(page(figures, links), encoding="utf-8")
    print(f"{args.page}, and {len(plots)} plots in {args.plots}")


def read(folder: Path) -> Figures:
    """The figures that are there, by name. Those of other pages may have any shape."""
    files = {name: folder / f"{name}.json" for name in NAMES}
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    return {name: figure if isinstance(figure, dict) else {} for name, figure in found.items()}


def page(figures: Figures, plots: Mapping[str, str]) -> str:
    """Markdown. plots: where each plot lies, seen from the page."""
    lines = ["# Speed", "", *_machines(figures), "", "## Floors and goals", "", *goals(figures), ""]
    for name, (title, section, plot) in SECTIONS.items():
        lines += [f"## {title}", "", *(section(figures[name]) if name in figures else [MISSING]), ""]
        if plot in plots:
            lines += [f"![{PLOTS[plot]}]({plots[plot]})", ""]
        lines += [_origin(figures[name]) if name in figures else f"Repeat: `python -m benchmarks.{COMMANDS[name]}`", ""]
    lines += ["## Elsewhere", "", "| what | page | figures |", "|---|---|---|"]
    for name, (title, target) in ELSEWHERE.items():
        lines.append(f"| {title} | [{target}](../explanation/{target}) | {_when(figures, name)} |")
    lines += ["", "This page: `python -m benchmarks.common.speed_page FIGURES --page docs/benchmarks/speed.md --plots docs/images/`"]
    return "\n".join(lines) + "\n"


def _origin(figure: dict[str, Any]) -> str:
    at = f", revision {figure['revision']}" if figure.get("revision") else ""
    return f"Measured {figure['date']}{at}. Repeat: `{figure['command']}`"


def _when(figures: Figures, name: str) -> str:
    return str(figures[name].get("date", "measured")) if name in figures else MISSING


def _machines(figures: Figures) -> list[str]:
    """Every different machine once, with what was measured there."""
    told: dict[str, list[str]] = {}
    for name, figure in figures.items():
        about = figure.get("machine")
        if name in SECTIONS and isinstance(about, dict):
            text = f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}"
            if "instructions" in about:  # records of earlier releases lack it
                text += f", {about['instructions']}, {about['matrix_gflops']:.0f} GFLOP/s a core by matrix products"
            told.setdefault(f"{text}, Python {about['python']}, torch {about['torch']}", []).append(name)
    busy = [figures[name]["machine"]["busy_before_percent"] for names in told.values() for name in names]
    lines = [text if len(told) == 1 else f"- {', '.join(names)}: {text}" for text, names in told.items()]
    note = (
        f"Every ratio is of figures from one run. The machine's cores were up to {max(busy):.0f} % busy before a benchmark began."
        if busy
        else ""
    )
    return [*lines, *(["", note] if note else [])] or [MISSING]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Markdown; numbers to the right, the first column to the left."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def _script(figure: dict[str, Any]) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for number, one in enumerate(figure["rounds"], 1):
        speed, script = one["images_per_second"], one["script"]
        theirs = (f"{speed['script']:.1f}", f"{script['faces']:,}", f"{one['ratio']:.2f}") if script else ("-", "-", MISSING)
        rows.append((number, theirs[0], theirs[1], f"{speed['ferflow']:.1f}", f"{one['job']['faces']:,}", theirs[2]))
    head = ("round", "script, images/s", "faces", f"ferflow, {figure['workers']} workers, images/s", "faces", "ratio")
    lines = [
        f"{figure['images']:,} pictures of half a megapixel ({figure['source']}), the same for both, in turns. The script is one process, "
        "one picture and one face after another, with the threads that OpenCV and torch take by themselves; loading is in neither rate.",
        "",
        *table(head, rows),
    ]
    if "alone" in figure:
        alone, ours = figure["alone"], median(one["images_per_second"]["ferflow"] for one in figure["rounds"])
        rows = [(name, f"{rate:.1f}", f"{rate / ours:.2f}") for name, rate in alone.items()]
        lines += ["", *table(("alone, one process a core", "images/s", "times the whole job"), rows)]
    return lines


def _detection(figure: dict[str, Any]) -> list[str]:
    rows = []
    for number, one in enumerate(figure["rounds"], 1):
        speed, faces = one["images_per_second"], (one["script"]["faces"], one["ferflow"]["faces"])
        cells = (f"{speed['script']:.1f}", f"{faces[0]:,}", f"{speed['ferflow']:.1f}", f"{faces[1]:,}", f"{one['ratio']:.2f}")
        rows.append((number, *cells))
    said = (
        f"{figure['images']:,} pictures. The script decodes each in full and runs OpenCV's YuNet at {figure['side']} px, in one process "
        f"with its threads; it does not label. ferflow labels as well, with `{figure['detector']}` and one worker a core."
    )
    return [said, "", *table(("round", "script, images/s", "faces", "ferflow, images/s", "faces", "ratio"), rows)]


def _insightface(figure: dict[str, Any]) -> list[str]:
    ours = figure["job"]["steady_images_per_second"]
    rows = [("ferflow, `builtin` and `tiny`", f"{ours:.1f}", f"{figure['job']['faces']:,}", "")]
    for name, one in figure["scripts"].items():
        speed = one["images"] / one["seconds"]
        rows.append((f"loop with {name}, and `tiny`", f"{speed:.1f}", f"{one['faces']:,}", f"{ours / speed:.2f}"))
    said = (
        f"{figure['images']:,} pictures ({figure['source']}). The detectors differ, so the faces do; SCRFD's files are "
        "for non-commercial research only."
    )
    return [said, "", *table(("", "images/s", "faces", "ferflow is faster by"), rows)]


def _fer(figure: dict[str, Any]) -> list[str]:
    ours, fer, labels = figure["job"]["steady_images_per_second"], figure["fer"], figure["labels"]["photographs"]
    speed = fer["images"] / fer["seconds"]
    rows: list[tuple[str, ...]] = [
        ("ferflow", f"{ours:.1f}", f"{labels['faces_ferflow']:,}", ""),
        ("`fer`", f"{speed:.1f}", f"{labels['faces_fer']:,}", f"{ours / speed:.2f}"),
    ]
    lines = [
        f"{figure['images']:,} pictures ({figure['source']}).",
        "",
        *table(("", "images/s", "faces", "ferflow is faster by"), rows),
        "",
    ]
    lines.append(f"Of {labels['matched']:,} faces that both find, both see the same expression in {100 * labels['same_expression']:.1f} %.")
    if figure.get("accuracy"):
        score = figure["accuracy"]
        head = ("", "a face found", "right, of all", "right, where found", "right, where both find one")
        keys = ("found", "accuracy", "accuracy_where_found", "accuracy_where_both_found")
        rows = [(who, *(f"{100 * score[who][key]:.1f} %" for key in keys)) for who in ("ferflow", "fer")]
        people = f"{score['pictures']:,} muxspace pictures of people kept out of ferflow's training, seven expressions, largest face:"
        lines += ["", people, "", *table(head, rows)]
    return lines


def _stages(figure: dict[str, Any]) -> list[str]:
    units = {"decode": "pictures", "network": "faces", "detector": "pictures", "write": "faces"}
    rows = []
    for name, unit in units.items():
        one = figure[name]
        rows.append(
            (name, f"{one['per_second']:,.0f} {unit}/s", f"{one['limit_per_second']:,.0f}", f"{100 * one['share']:.0f} %", one["limit"])
        )
    network, detector = figure["network"], figure["detector"]
    return [
        *table(("stage", "measured", "limit", "share", "what the limit is"), rows),
        "",
        f"A face is {network['gigaflop']:.3f} Gflop (mirror image included), a look at 640 pixels {detector['gigaflop']:.2f} Gflop; the "
        f"matrix product did {network['matrix_gigaflops']:.0f} and {detector['matrix_gigaflops']:.0f} Gflop/s beside them. Crops as PNG: "
        f"{figure['write']['png_per_second']:,.0f} faces/s encoded.",
    ]


def _costs(figure: dict[str, Any]) -> list[str]:
    head = ("pictures", "megapixels", "faces a picture", "seconds", "of which start-up", "images/s, once started", "largest worker")
    rows = [
        (
            f"{one['images']:,}",
            f"{one['megapixels']:.2g}",
            f"{one['faces_found']:.1f}",
            f"{one['seconds']:.1f}",
            f"{one['startup_seconds']:.1f}",
            f"{one['steady_images_per_second']:.1f}",
            f"{one['worker_peak_bytes'] / 2**20:,.0f} MiB",
        )
        for points in figure["curves"].values()
        for one in points
    ]
    points = [one for curve in figure["curves"].values() for one in curve]
    earlier = [one["revision"] for one in points if one.get("revision", figure.get("revision")) != figure.get("revision")]
    note = f"{len(earlier)} of these {len(points)} points were kept from a run of revision {', '.join(sorted(set(earlier)))} (`--resume`)."
    return [*table(head, rows), *(["", note] if earlier else [])]


def _relabel(figure: dict[str, Any]) -> list[str]:
    rows = [
        (number, f"{one['faces_per_second']:.0f}", f"{one['alone_faces_per_second']:.0f}", f"{100 * one['share']:.0f} %")
        for number, one in enumerate(figure["rounds"], 1)
    ]
    head = ("round", f"`ferflow relabel`, {figure['workers']} workers, faces/s", "decoding and network alone, faces/s", "share")
    return [f"{figure['faces']:,} kept crops.", "", *table(head, rows)]


def _training(figure: dict[str, Any]) -> list[str]:
    keys = ("steps_per_second", "faces_per_second", "limit_steps_per_second")
    rows = [
        (f"`{name}`", one["batch"], one["passes"], *(f"{one[key]:.3g}" for key in keys), f"{100 * one['share']:.0f} %")
        for name, one in figure["models"].items()
    ]
    head = ("recipe", "faces a step", "passes a step", "steps/s", "faces/s", "bare passes, steps/s", "share")
    return [f"On the CPU, {figure['threads']} threads, one process.", "", *table(head, rows)]


def _workers(figure: dict[str, Any]) -> list[str]:
    rows = [
        (
            number,
            *(f"{job['steady_images_per_second']:.1f}" for job in (one["confined"], *one["jobs"])),
            *(f"{one[key]:.2f}" for key in ("speedup", "speedup_over_unconfined", "machine_allows")),
        )
        for number, one in enumerate(figure["rounds"], 1)
    ]
    rates = ("1 worker on one core, images/s", "1 worker", "2 workers")
    head = ("round", *rates, "2 over 1 on one core", "2 over 1", "decoding and detection alone")
    return [f"{figure['images']:,} pictures; the networks of a worker have one thread.", "", *table(head, rows)]


def _equality(figure: dict[str, Any]) -> list[str]:
    exact = figure.get("exact", {})
    before = f"revision {figure['reference']}"
    rows = [_agreed("this revision", before, figure)]
    rows += [_agreed(who, "float64", exact[key]) for who, key in (("this revision", "now"), (before, "before")) if key in exact]
    said = (
        f"{figure['images']:,} pictures ({figure['source']}). Revision {figure['reference']} looks at one picture after another in plain "
        "float32 torch; float64 stands for the same steps with both networks in double precision, where rounding hardly matters."
    )
    head = ("labels of", "beside", "faces", "there", "found by both", "same expression", "confidence apart, 95 %", "largest", "within 0.01")
    return [said, "", *table(head, rows)]


def _agreed(who: str, beside: str, figure: dict[str, Any]) -> tuple[str, ...]:
    shares = ("found_by_both", "same_expression", "confidence_within_0.01")
    found, same, within = (f"{100 * figure[name]:.2f} %" for name in shares)
    apart = (f"{figure['confidence_apart_p95']:.4f}", f"{figure['confidence_apart_largest']:.4f}")
    return (who, beside, f"{figure['faces_one']:,}", f"{figure['faces_other']:,}", found, same, *apart, within)


SECTIONS: dict[str, tuple[str, Section, str]] = {
    "against_script": ("Against the obvious script", _script, "ratios"),
    "against_script_generated": ("The same, on composed pictures", _script, ""),
    "against_detection": ("Against decoding and YuNet alone, 0.7 megapixels", _detection, ""),
    "against_detection_as_they_are": ("The same, 12 megapixels", _detection, ""),
    "insightface": ("Against insightface's loop", _insightface, ""),
    "fer": ("Against the `fer` package", _fer, ""),
    "stage_limits": ("Stage by stage", _stages, "stages"),
    "cost_curves": ("Cost against size", _costs, "costs"),
    "workers_speedup": ("A second worker", _workers, ""),
    "relabel_rate": ("Relabelling from crops", _relabel, ""),
    "training_rate": ("Training", _training, ""),
    "label_equality": ("The same answers", _equality, ""),
}


if __name__ == "__main__":
    main()
