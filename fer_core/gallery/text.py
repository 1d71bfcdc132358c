"""Counts and shares as the gallery writes them."""


def counted(number: int, noun: str) -> str:
    """`1 face`, `1,200 faces`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """`87 %`; never 100 %, and 0 % for an exact zero only."""
    rounded = round(100 * share)
    if rounded >= 100:
        return ">99 %"
    if rounded == 0 and share > 0:
        return "<1 %"
    return f"{rounded} %"
