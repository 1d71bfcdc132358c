"""Regular expressions that meet text of others: each takes time that grows with its length, not with the square of it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LENGTH = 200_000
PIECES = ("a", "a:", "1:", "a.", "a://", "Error.", "\x1b[", "\x1b[1;", ".a.tmp", "..", "/", "a/", "0", "\n", " ", "[", "-")
BOUNDED = {"_REASON"}
"""Those whose text is cut before they are tried."""
SEARCHING = {
    "fer_core/text.py",  # a control character is one, a line's end is one or two
    "fer_core/export/delta.py",  # an escape sequence ends at the next one
    "fer_core/decode/header_bounds.py",  # a JPEG marker is two bytes
    "fer_core/json_reader.py",  # a string is taken whole, with or without its end
    "tasks/artifacts/markdown.py",  # a mark is one character
}
"""Modules that search, where it was weighed."""


def patterns():
    """Each `NAME: Final = re.compile(...)` of the product."""
    for package in ("fer_core", "tasks", "flows"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "re.compile":
                    yield node.target.id, node.value.args[0].value


def test_no_pattern_takes_quadratic_time():
    found = [(name, text) for name, text in patterns() if name not in BOUNDED]
    assert len(found) > 10
    script = f"""
import re
for text in {[text for _, text in found]!r}:
    for piece in {PIECES!r}:
        subject = piece * ({LENGTH} // len(piece))
        subject = subject if isinstance(text, str) else subject.encode()
        re.compile(text).match(subject)
        re.compile(text).fullmatch(subject)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)  # one quadratic pattern takes longer


def test_patterns_are_tried_at_the_start_only():
    """A search tries them at every place, which is where the square comes from."""
    for package in ("fer_core", "tasks", "flows"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if str(file.relative_to(ROOT)) not in SEARCHING:
                calls = re.findall(r"\b(?:_[A-Z_]+|re)\.(?:search|sub|subn|split|findall|finditer)\(", file.read_text())
                assert not calls, file
