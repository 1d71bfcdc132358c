"""Parties of a comparison, one after the other, so that other work on the machine changes both alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def in_turn(parties: Mapping[str, Callable[[], T]], number: int) -> dict[str, T]:
    """What each party returns. number: of the round; every other one begins with the last party."""
    names = list(parties) if number % 2 == 0 else list(reversed(parties))
    return {name: parties[name]() for name in names}
