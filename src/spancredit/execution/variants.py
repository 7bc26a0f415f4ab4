"""Variants of a program: the same program with a stretch of it taken away, so that Python still reads it."""

import ast
from collections.abc import Sequence

from spancredit.text.python import BROKEN, Piece, compiles, cut_python, parsed

Range = tuple[int, int]
# What stands in the place of a header, so that what it heads stays and the header says nothing.
HEADERS = {
    "code:For": "for _ in (0,):",  # once, and a break is still one
    "code:AsyncFor": "for _ in (0,):",
    "code:While": "for _ in (0,):",
    "code:If": "if True:",
    "code:With": "if True:",
    "code:AsyncWith": "if True:",
    "code:FunctionDef": "def _(*_, **__):",
    "code:AsyncFunctionDef": "async def _(*_, **__):",
    "code:ClassDef": "if False:",
    "code:Else": "elif False:",
    "code:ExceptHandler": "except ():",
    "code:Case": "case _ if False:",
}
KEPT = (
    "comment",
    "docstring",
    "line",
    "code:Try",
    "code:TryStar",
    "code:Finally",
    "code:Match",
)  # nothing to run, or syntax alone
SHARE = 0.5  # of a piece or of a stretch that has to lie in the other


def variants(program: str, stretches: Sequence[Range]) -> list[str | None]:
    """For each stretch (characters, half-open) the program without the statements and headers that it holds.

    A statement becomes `pass`. A header loses its condition: what it heads runs once, an `else` and an `except` never,
    a function and a class are not defined. A statement that was cut in two is taken by both stretches. None where
    nothing is taken away that could matter: comments, docstrings, code that does not parse, and headers that are
    syntax alone (`try`, `finally`, `match`, the `else` of a loop).
    """
    pieces = cut_python(program, 0, len(program))
    return [
        _without(program, [piece for piece in pieces if held(program, piece[:2], stretch)]) for stretch in stretches
    ]


def fingerprint(program: str) -> str:
    """The same for programs that differ in nothing that runs: layout, comments, parentheses."""
    try:
        return ast.dump(parsed(program))
    except BROKEN:
        return program


def held(program: str, place: Range, stretch: Range) -> bool:
    """Whether a stretch holds a piece that stands there, or the piece the stretch, as far as one lies in the other."""
    first, last = core(program, place)
    common = min(last, stretch[1]) - max(first, stretch[0])
    return common > 0 and common >= SHARE * min(last - first, stretch[1] - stretch[0])


def core(program: str, stretch: Range) -> Range:
    """A stretch without the blanks around it."""
    start, end = stretch
    text = program[start:end]
    return start + len(text) - len(text.lstrip()), start + len(text.rstrip())


def _without(program: str, pieces: Sequence[Piece]) -> str | None:
    changed, changes = program, 0
    for piece in reversed(pieces):
        if piece[2] in KEPT:
            continue
        first, last = core(program, piece[:2])
        instead = _instead(program[first:last], piece[2])
        tried = changed[:first] + instead + changed[last:]
        if compiles(tried):
            changed, changes = tried, changes + 1
    return changed if changes else None


def _instead(core: str, kind: str) -> str:
    if kind in HEADERS:
        return f"el{HEADERS[kind]}" if kind == "code:If" and core.startswith("elif") else HEADERS[kind]
    return "pass;" if core.endswith(";") else "pass"
