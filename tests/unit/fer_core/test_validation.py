from dataclasses import dataclass
from typing import Any, Literal

import pytest

from fer_core.validation import check_entries


@dataclass(frozen=True, slots=True)
class Inner:
    size: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    whole: int = 1
    number: float = 0.5
    right: bool = True
    text: str = "a"
    several: tuple[int, ...] = (1, 2)
    choice: Literal["a", "b"] = "a"
    inner: Inner = Inner()


@pytest.mark.parametrize("given", [{}, {"number": 1}, {"several": ()}, {"choice": "b"}, {"text": ""}])
def test_what_is_declared(given: dict[str, Any]) -> None:
    check_entries(Record(**given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"whole": 1.0}, "whole is a whole number, not 1.0"),
        ({"whole": True}, "whole is a whole number, not True"),
        ({"whole": None}, "whole is a whole number, not None"),
        ({"number": "1"}, "number is a number, not '1'"),
        ({"number": float("inf")}, "number is a number, not inf"),
        ({"number": False}, "number is a number, not False"),
        ({"right": 1}, "right is true or false, not 1"),
        ({"text": 5}, "text is a string, not 5"),
        ({"several": (1, "2")}, "several is a list, each entry a whole number"),
        ({"several": 5}, "several is a list"),
        ({"choice": "c"}, "choice is one of a, b, not 'c'"),
        ({"choice": ["a"]}, "choice is one of a, b"),
        ({"inner": {"size": 1}}, "inner is an object"),
    ],
)
def test_what_is_not(given: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as refused:
        check_entries(Record(**given))
    assert str(refused.value).startswith(said)
