"""What the gallery says in words, on the page and on the sheet alike."""

from typing import Final

from fer_core.commit.manifest import Manifest
from fer_core.gallery.photo import GalleryPhoto, Verdict

LAW: Final = (
    "Labels name the apparent expression of a face, not what the person feels or thinks.",
    "Faces are biometric data. This page holds photographs and was written on request; protect it like the "
    "photographs themselves, and delete it when it has served its purpose. "
    "In the European Union, inferring emotions at work and in schools is banned, and other uses are high-risk (AI Act).",
)


def headline(manifest: Manifest) -> str:
    """`7 faces in 2 pictures`."""
    return f"{counted(manifest.faces, 'face')} in {counted(sum(manifest.statuses.values()), 'picture')}"


def counted(number: int, noun: str) -> str:
    """`1 face`, `1,200 faces`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def dimensions(picture: GalleryPhoto) -> str:
    """`1,280 x 886` pixels."""
    return f"{picture.size[0]:,} x {picture.size[1]:,}" if all(picture.size) else "size unknown"


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """What a reader has to know about the run, digests shortened."""
    return [
        ("Run", manifest.run_id),
        ("Committed", f"{manifest.committed_at[:16].replace('T', ' ')} UTC"),
        ("Source", manifest.source),
        ("Purpose", manifest.purpose or "not given"),
        ("Detector", manifest.detector),
        ("Model", f"{manifest.model_name} {manifest.model_digest[:12]}"),
        ("Pipeline digest", manifest.pipeline_digest[:12]),
    ]


def describe_pose(verdict: Verdict) -> str:
    """How good a look the photograph gives: `142 px, yaw 12°, pitch -4°, roll 2°`."""
    angles = (("yaw", verdict.yaw_deg), ("pitch", verdict.pitch_deg), ("roll", verdict.roll_deg))
    return f"{verdict.size_px:.0f} px · " + " · ".join(f"{name} {round(value)}°" for name, value in angles)


def percent(share: float) -> str:
    """`87 %`; no network is certain, whatever its rounded probabilities say."""
    rounded = round(100 * share)
    if rounded >= 100:
        return ">99 %"
    if rounded == 0 and share > 0:
        return "<1 %"
    return f"{rounded} %"
