"""One face as a person is shown it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A picture of a face with its surroundings, and its current label."""

    image_sha256: str
    image_uri: str
    box: tuple[float, float, float, float]
    """x, y, width, height, pixels of the upright image."""
    expression: str
    confidence: float
    probabilities: tuple[float, ...]
    """In the order of `labels.EXPRESSIONS`."""
    model_name: str
    model_digest: str
    reasons: tuple[str, ...]
    """Why it was chosen, in a few words each; the strongest first."""
    picture: str
    """JPEG or PNG as a data URI."""
    frame: tuple[float, float, float, float] | None
    """Where the box lies in the picture: x, y, width, height in parts of it. None where the picture is the aligned face alone."""
