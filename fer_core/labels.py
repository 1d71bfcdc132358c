"""The eight apparent expressions, their one order everywhere, and the codes other data sets use for them."""

from typing import Final

EXPRESSIONS: Final[tuple[str, ...]] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""Order of every probability vector, vote vector, confusion matrix and tie-break. It is FER+'s column order."""

EXPRESSION_INDEX: Final[dict[str, int]] = {name: index for index, name in enumerate(EXPRESSIONS)}

RAFDB_CODES: Final[dict[int, str]] = {
    1: "surprise",
    2: "fear",
    3: "disgust",
    4: "happiness",
    5: "sadness",
    6: "anger",
    7: "neutral",
}
"""RAF-DB basic set, `list_patition_label.txt`."""

AFFECTNET_CODES: Final[dict[int, str]] = {
    0: "neutral",
    1: "happiness",
    2: "sadness",
    3: "surprise",
    4: "fear",
    5: "disgust",
    6: "anger",
    7: "contempt",
}
"""AffectNet's `expression` column; 8 (none), 9 (uncertain) and 10 (no face) carry no expression."""

FOLDER_NAMES: Final[dict[str, str]] = {
    **{name: name for name in EXPRESSIONS},
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "contemptuous": "contempt",
}
"""Folder names that are understood as an expression."""
