"""Pages of artifacts in Markdown. Every value that is not `Markdown` is text, and this type escapes it on insertion.

`Markdown("| {} | {:,} |").format(name, count)` escapes the name; an f-string gives a plain string again, which is escaped as a whole.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Self

from markupsafe import Markup

from fer_core.text import visible

_MARKS: Final = re.compile(r"^#|[\\`*_\[\]|~^$@]|(?<=:)(?=//)|(?<=www)(?=\.)")
_TAGS: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class Markdown(Markup):
    """Text that is Markdown. Its methods (`format`, `join`, `+`) escape their arguments, unless those are Markdown too."""

    __slots__ = ()

    @classmethod
    def escape(cls, value: Any, /) -> Self:  # noqa: ANN401  (as the base has it)
        """Text as Markdown that shows it, on one line: no tag, link, emphasis, table cell or line of its own."""
        if isinstance(value, cls):
            return value
        line = visible(str(value))
        return cls(_MARKS.sub(lambda found: f"\\{found[0]}", "".join(_TAGS.get(one, one) for one in line)))


def code(text: str) -> Markdown:
    """A name or digest as code; as text where it contains characters that would end the code or its table's cell."""
    shown = visible(text)
    return Markdown.escape(shown) if not shown.strip() or set(shown) & set("`|<>&\\") else Markdown(f"`{shown}`")


def lines(*every: str | Iterable[str]) -> Markdown:
    """One line under the other. every: lines, or several of them."""
    flat = [one for some in every for one in ([some] if isinstance(some, str) else some)]
    return Markdown("\n").join(flat)
