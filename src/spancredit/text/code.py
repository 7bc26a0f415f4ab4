"""Fenced code inside a text: where it is, and which of its lines calculate."""

import re
from collections.abc import Iterator

FENCED = re.compile(r"^[ \t]*(```|~~~)[^`\n]*(?:\n.*?(?:^[ \t]*\1[^\n]*(?:\n|\Z)|\Z)|\Z)", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"[ \t]*(?:```|~~~)")
LINE = re.compile(r"[^\n]*\n+|[^\n]+")
NO_ARITHMETIC = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|#.*")
ARITHMETIC = re.compile(r"[\w)\]]\s*(?:\*\*|//|[-+*/%])\s*[\w(]|^\s*\w+\s*=\s*[-.]?\d")


def prose_and_code(text: str) -> Iterator[tuple[int, int, bool]]:
    """`(start, end, is_code)` by turns, tiling the text. A fence that is not closed reaches to the end."""
    start = 0
    for fenced in FENCED.finditer(text):
        yield start, fenced.start(), False
        yield *fenced.span(), True
        start = fenced.end()
    yield start, len(text), False


def inside_fences(text: str, start: int, end: int) -> tuple[int, int]:
    """What stands between the fences of a fenced part, its last line break included; a fence may be missing."""
    first = text.find("\n", start, end) + 1 or end
    last = text.rfind("\n", first, end - 1) + 1 or first
    closes = FENCE.match(text, max(first, last), end)
    return first, max(first, last) if closes else end


def cut_lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Lines, each with the line breaks that follow it."""
    return [match.span() for match in LINE.finditer(text, start, end)]


def calculates(line: str) -> bool:
    """Whether a line of code has an arithmetic operation outside strings and comments, or names a number."""
    return ARITHMETIC.search(NO_ARITHMETIC.sub("''", line)) is not None
