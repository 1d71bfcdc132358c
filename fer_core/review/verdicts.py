"""The verdicts of a review: one of the eight expressions, not a face, or unsure."""

from typing import Final

from fer_core.labels import EXPRESSIONS

NOT_A_FACE: Final = "not_a_face"
UNSURE: Final = "unsure"
VERDICTS: Final[tuple[str, ...]] = (*EXPRESSIONS, NOT_A_FACE, UNSURE)
"""In the order of the keys 1 to 9 and 0."""

SPOKEN: Final[dict[str, str]] = {**{name: name for name in EXPRESSIONS}, NOT_A_FACE: "not a face", UNSURE: "cannot tell"}
"""As a person reads them."""

KEYS: Final[dict[str, str]] = dict(zip(VERDICTS, "1234567890", strict=True))
"""The key that gives each verdict, on the page and in Label Studio."""
