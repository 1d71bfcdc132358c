"""Characters that control a terminal, or change the order of displayed text, made visible. File names may hold all of them.

Shown unchanged: letters of any script, marks, symbols, spaces of any width, and the two joiners that emoji and Persian need.
"""

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad"  # C0 and C1 controls: escape sequences, carriage return, bell; the soft hyphen
    "\u061c\u180e\u200b\u200e\u200f"  # marks of direction and of no width
    "\u2028-\u202e\u2060-\u206f"  # line and paragraph separators, overrides, embeddings, isolates
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"  # byte order mark, annotations, tags
    "\ud800-\udfff]"  # bytes that are no UTF-8, as Python reads them
)
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    r"""One line, whatever the text holds: `a\x1b[2Jb`, `a\nb`, `a\u202eb`."""
    return _UNSEEN.sub(lambda found: _SHORT.get(found[0]) or _python(found[0]), text)


def visible_lines(text: str) -> str:
    """The same but for line ends, which stay."""
    return "\n".join(visible(line) for line in text.split("\n"))


def visible_json(text: str) -> str:
    """JSON with these characters escaped as JSON does it, so that it means the same. text: JSON, which holds them in strings alone."""
    return _UNSEEN.sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _utf16(found[0])), text)


def pieces(text: str) -> list[str]:
    """Cut into what may be shown as it is and single characters that may not; joined they are the text."""
    return [piece for piece in re.split(f"({_UNSEEN.pattern})", text) if piece]


def is_invisible(piece: str) -> bool:
    """Whether a piece is a character that must not be shown as it is."""
    return _UNSEEN.fullmatch(piece) is not None


def _python(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _utf16(character: str) -> list[int]:
    code = ord(character)
    return [code] if code < 0x10000 else [0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)]
