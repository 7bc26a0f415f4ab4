"""Exchanges: where two programs part, the one with what the other has there, and the rest of it as it is."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from spancredit.execution.variants import Range, core, parsed, reads, variants
from spancredit.text.python import BROKEN, cut_python

SILENT = ("comment", "docstring")


@dataclass(frozen=True)
class Exchange:
    """What two programs have in common, and what the one would be with the other's choice.

    Args:
        alike: Statements, from the first on, that both have.
        code: The one with its next statement as the other has it; None if there is none, or Python could not read it.
    """

    alike: int
    code: str | None


def statements(code: str) -> list[Range]:
    """Statements, and headers of compound ones, in order and without blanks around them; no comments or docstrings."""
    return [core(code, (start, end)) for start, end, kind in cut_python(code, 0, len(code)) if kind not in SILENT]


def exchanged(code: str, mine: Sequence[Range], other: str, theirs: Sequence[Range]) -> Exchange:
    """Read two programs side by side to the first statement in which they differ, and exchange it.

    Names do not make a difference: where the other binds another name, it is read as if it bound the one's. Layout and
    comments do not, and the depth of a statement does. Where the other has ended, the statement is taken away.
    """
    names: dict[str, str] = {}
    for k, place in enumerate(mine):
        if k == len(theirs):
            return Exchange(k, variants(code, [place])[0])
        own, said = code[slice(*place)], renamed(other[slice(*theirs[k])], names)
        bound = _bound(said), _bound(own)
        if len(bound[0]) == len(bound[1]):
            new = {before: after for before, after in zip(*bound, strict=True) if before != after}
            names |= new
            said = renamed(said, new)
        if _meaning(own) == _meaning(said) and _depth(code, place) == _depth(other, theirs[k]):
            continue
        return Exchange(k, _put(code, place, said, _depth(other, theirs[k])))
    return Exchange(len(mine), None)


def renamed(code: str, names: dict[str, str]) -> str:
    """The code with whole words exchanged, all at once."""
    return re.sub(r"[^\W\d]\w*", lambda word: names.get(word[0], word[0]), code) if names else code


def _put(code: str, place: Range, said: str, depth: int | None) -> str | None:
    """The code with this in a statement's place, at the depth that it had where it comes from."""
    start, end = place
    if depth is not None and (own := _depth(code, place)) is not None:
        start, said = start - own, " " * depth + said
    changed = code[:start] + said + code[end:]
    return changed if reads(changed) else None


def _depth(code: str, place: Range) -> int | None:
    """Blanks before a statement; None if it does not begin its line."""
    before = code[code.rfind("\n", 0, place[0]) + 1 : place[0]]
    return None if before.strip() else len(before)


@lru_cache(maxsize=1 << 16)
def _meaning(statement: str) -> str:
    """The same for statements that differ in nothing that runs: layout, comments, parentheses."""
    for begun in (statement, f"{statement} pass", f"{statement.removeprefix('el')} pass"):
        try:
            return f"{statement[:4] == 'elif'} {ast.dump(parsed(begun))}"
        except BROKEN:
            continue
    return statement


@lru_cache(maxsize=1 << 16)
def _bound(statement: str) -> tuple[str, ...]:
    """Names that a statement or a header binds, in order."""
    for begun in (statement, f"{statement} pass"):
        try:
            tree = parsed(begun)
        except BROKEN:
            continue
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        return tuple(node.id for node in names)
    return ()
