"""For benchmarks/gpu/compare.py: its figures as Markdown, with the floors and goals beside them."""

from typing import Any

TARGETS = (
    ("job", "whole job, 0.5-megapixel JPEGs from local disk, images/s", 1_000, 4_000),
    ("network", "network alone, `base`, 112x112, faces/s", 40_000, 100_000),
    ("detector", "detector alone, 640 px, images/s", 1_500, 6_000),
)
"""Section, what, floor and goal on one H200 with 16 cores."""
RATES = {"job": "images_per_second", "network": "faces_per_second", "detector": "images_per_second"}


def markdown(figures: dict[str, Any]) -> str:
    """A page of what has been measured so far."""
    about = figures["machine"]
    lines = ["# The GPU's path", "", ", ".join(f"{name} {value}" for name, value in about.items()) + ".", ""]
    if not figures["measured_on_a_gpu"]:
        lines += ["**Not measured on a GPU**: these figures only show that the command works.", ""]
    lines += ["| | floor | goal | here |", "|---|---:|---:|---:|"]
    for section, what, floor, goal in TARGETS:
        told = figures.get(section, {})
        here = f"{told[RATES[section]]:,.0f}" if RATES[section] in told else "not measured"
        lines.append(f"| {what} | {floor:,} | {goal:,} | {here} |")
    for section, page in (("equality", _equality), ("network", _network), ("detector", _detector), ("overlap", _overlap), ("job", _job)):
        if section in figures:
            told = figures[section]
            lines += ["", f"## {section.capitalize()}", ""]
            lines += ["Failed:", "", "```", told["failed"].strip(), "```"] if "failed" in told else page(told)
    return "\n".join(lines) + "\n"


def _equality(told: dict[str, Any]) -> list[str]:
    lines = [
        f"{told['faces']:,} faces in {told['pictures']:,} composed pictures (faces from {told['faces_from']}), model `{told['model']}`, "
        "against the reference path on the CPU in single precision. Asked for: confidence within 0.01, the same expression on 99.5 % of "
        "the faces.",
        "",
        "| precision | faces missing, added | points, px: median, 99 %, most | confidence: most, within 0.01 | same expression "
        "| network alone: confidence, expression |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ("float16", "bfloat16", "float32", "8 bits"):
        if name not in told:
            continue
        one, points = told[name], told[name]["points_px"]
        whole, alone = one["whole_path"], one["network_alone"]
        spread = f"{points['p50']:.3f}, {points['p99']:.3f}, {points['p100']:.3f}" if points else "no face"
        lines.append(
            f"| {name} | {one['faces_only_in_the_reference']}, {one['faces_only_here']} | {spread} "
            f"| {whole['confidence_largest_difference']:.4f}, {100 * whole['confidence_within_0.01']:.2f} % "
            f"| {100 * whole['same_expression']:.2f} % "
            f"| {alone['confidence_largest_difference']:.4f}, {100 * alone['same_expression']:.2f} % |"
        )
    return lines


def _network(told: dict[str, Any]) -> list[str]:
    weights = "trained" if told["trained"] else "random weights, since no trained `base` is shipped: as fast"
    lines = [
        f"`base` ({weights}), {told['multiply_adds'] / 1e6:,.0f} million multiply-adds a face and pass. Matrix products in bf16 reach "
        f"{told['bf16_matmul_tflops']:,.1f} TFLOP/s here. With copies, mirrored, through the predictor: "
        f"{told['predictor_with_copies_faces_per_second']:,.0f} faces/s.",
        "",
        "| batch | faces/s | share of the matrix rate |",
        "|---|---:|---:|",
    ]
    return lines + [
        f"| {name} | {one['faces_per_second']:,.0f} | {100 * one['share_of_matmul_rate']:.1f} % |" for name, one in told["batches"].items()
    ]


def _detector(told: dict[str, Any]) -> list[str]:
    rows = {name: one for name, one in told.items() if isinstance(one, dict)}
    lines = [
        "From decoded pictures in host memory to faces and crops in host memory.",
        "",
        "| pictures | images/s | faces an image |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {one['images_per_second']:,.0f} | {one.get('faces_an_image', 0)} |" for name, one in rows.items()]
    pieces = told["network_alone_640x512_pieces_per_second"]
    return [
        *lines,
        "",
        f"Network alone on pieces of 640x512 that lie on the device: {pieces:,.0f}/s. Repeated batches: {told['repeated_batches']}.",
    ]


def _overlap(told: dict[str, Any]) -> list[str]:
    lines = [
        f"{told['pictures']} pictures in {told['batches']} batches: {told['seconds_together']:.3f} s queued one behind the other, "
        f"{told['seconds_one_by_one']:.3f} s with a pause after each batch."
    ]
    if "kernel_ms" in told:
        lines.append(
            f"Kernels {told['kernel_ms']:.1f} ms ({told['kernels']}), uploads {told['upload_ms']:.1f} ms, of which "
            f"{told['upload_beside_kernels_ms']:.1f} ms beside kernels, downloads {told['download_ms']:.1f} ms. "
            f"Hidden waits of the host: {told['hidden_waits_a_look']}."
        )
    return lines


def _job(told: dict[str, Any]) -> list[str]:
    lines = [
        f"Decoded by {told['decoder']}, {told['megapixels']} megapixels; reading, decoding, looking, prediction, quality and Parquet.",
        "",
        "| model | processes x threads | images | faces | seconds | images/s | main threads: waiting, look, predict, write (s) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for run in told["runs"]:
        stages = ", ".join(f"{value:.1f}" for value in run["main_thread_seconds"].values())
        lines.append(
            f"| {run['model']} | {run['processes']} x {run['threads_each']} | {run['images']:,} "
            f"| {run['faces']:,} | {run['seconds']:.1f} | {run['images_per_second']:,.0f} | {stages} |"
        )
    return lines
