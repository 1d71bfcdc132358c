"""Figures as the benchmarks of speed leave them, made up."""

MACHINE = {
    "processor": "Made-up processor",
    "cores": 2,
    "memory_gib": 24,
    "busy_before_percent": 3.0,
    "system": "Linux 6",
    "python": "3.11.7",
    "torch": "2.13.0",
}
AGREED = {
    "faces_one": 300,
    "faces_other": 300,
    "found_by_both": 1.0,
    "same_expression": 0.996,
    "confidence_apart_p95": 0.001,
    "confidence_apart_largest": 0.02,
    "confidence_within_0.01": 0.995,
}
LIMIT = {"per_second": 50.0, "limit_per_second": 100.0, "share": 0.5, "limit": "what it can do"}


def about(name):
    return {"command": f"python -m benchmarks.{name} --to figures", "date": "2026-11-26", "revision": "abc1234", "machine": MACHINE}


def job(speed, faces=300):
    return {"steady_images_per_second": speed, "faces": faces}


def round_of(script, ours):
    done = {"script": script and {"images": 100, "faces": 290, "seconds": 100 / script}, "job": job(ours)}
    return {**done, "images_per_second": {"ferflow": ours, "script": script}, "ratio": script and ours / script}


def point(images, faces, megapixels):
    return {
        "images": images,
        "megapixels": megapixels,
        "faces_found": float(faces),
        "seconds": 20.0,
        "startup_seconds": 8.0,
        "steady_images_per_second": 60.0,
        "worker_peak_bytes": 500 * 2**20,
    }


SETTINGS = {"source": "photographs", "images": 100, "workers": 2}
FIGURES = {
    "against_script": {
        **SETTINGS,
        "rounds": [round_of(20.0, 50.0), round_of(20.0, 70.0)],
        "alone": {"decode": 500.0, "decode and detect": 72.0},
    },
    "against_script_generated": {**SETTINGS, "source": "generated", "rounds": [round_of(None, 80.0)]},
    "insightface": {**SETTINGS, "job": job(60.0), "scripts": {"scrfd": {"images": 100, "faces": 310, "seconds": 4.0}}},
    "fer": {
        **SETTINGS,
        "job": job(60.0),
        "fer": {"images": 100, "faces": 200, "seconds": 5.0},
        "labels": {"photographs": {"faces_ferflow": 300, "faces_fer": 200, "matched": 150, "same_expression": 0.7}},
        "accuracy": {
            "pictures": 10,
            "found_by_both": 5,
            **{
                who: dict.fromkeys(("found", "accuracy", "accuracy_where_found", "accuracy_where_both_found"), 0.5)
                for who in ("ferflow", "fer")
            },
        },
    },
    "stage_limits": {
        "decode": LIMIT,
        "network": {**LIMIT, "gigaflop": 0.2, "matrix_gigaflops": 180.0},
        "detector": {**LIMIT, "gigaflop": 1.7, "matrix_gigaflops": 190.0},
        "write": {**LIMIT, "png_per_second": 2000.0},
    },
    "cost_curves": {
        "workers": 2,
        "curves": {
            "sizes": [point(100, 1, 0.08), point(1000, 1, 0.08)],
            "faces": [point(100, 0, 0.5), point(100, 50, 0.5)],
            "megapixels": [point(100, 1, 0.3), point(100, 1, 12.0)],
        },
    },
    "workers_speedup": {
        "images": 100,
        "rounds": [
            {
                "confined": job(30.0),
                "jobs": [job(38.0), job(57.0)],
                "speedup": 1.9,
                "speedup_over_unconfined": 1.5,
                "machine_allows": 1.95,
            }
        ],
    },
    "relabel_rate": {
        "faces": 5000,
        "workers": 2,
        "rounds": [{"faces_per_second": 250.0, "alone_faces_per_second": 500.0, "share": 0.5}],
    },
    "training_rate": {
        "threads": 2,
        "models": {
            "tiny": {
                "batch": 128,
                "passes": 1,
                "steps_per_second": 1.5,
                "faces_per_second": 192.0,
                "limit_steps_per_second": 2.0,
                "share": 0.75,
            }
        },
    },
    "label_equality": {
        "images": 100,
        "source": "photographs",
        "reference": "381d49f",
        **AGREED,
        "exact": {"now": AGREED, "before": {**AGREED, "confidence_apart_largest": 0.0146}},
    },
}
