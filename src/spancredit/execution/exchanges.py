"""Exchanges: where two programs part, the one with what the other has there, and the rest of it as it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from spancredit.execution.names import bound, meaning, renamed
from spancredit.execution.variants import Range, core, variants
from spancredit.text.python import compiles, cut_python

Names = dict[str, str | None]
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
    comments do not, and the depth of a statement does. Where the other has ended, the statement is taken away. What
    names a thing that the one does not have is not exchanged.
    """
    names: Names = {}
    for k, place in enumerate(mine):
        if k == len(theirs):
            return Exchange(k, variants(code, [place])[0])
        own, their = code[slice(*place)], other[slice(*theirs[k])]
        names = _matched(names, bound(their), bound(own))
        said = renamed(their, names)
        if said is None:
            return Exchange(k, None)
        if meaning(own) != meaning(said) or _depth(code, place) != _depth(other, theirs[k]):
            return Exchange(k, _put(code, place, said, _depth(other, theirs[k])))
    return Exchange(len(mine), None)


def _matched(names: Names, theirs: Sequence[str], mine: Sequence[str]) -> Names:
    """The names of the other as the one has them, after both have bound these; None for what it no longer has."""
    if len(theirs) != len(mine):
        return names
    new = dict(zip(theirs, mine, strict=True))
    kept = {name: None if as_mine in new.values() else as_mine for name, as_mine in names.items()}
    return {**kept, **new}


def _put(code: str, place: Range, said: str, depth: int | None) -> str | None:
    """The code with this in a statement's place, at the depth that it had where it comes from."""
    start, end = place
    if code[start:end].endswith(";"):
        said = f"{said.removesuffix(';')};"
    if depth is not None and (own := _depth(code, place)) is not None:
        start, said = start - own, " " * depth + said
    changed = code[:start] + said + code[end:]
    return changed if compiles(changed) else None


def _depth(code: str, place: Range) -> int | None:
    """Blanks before a statement; None if it does not begin its line."""
    before = code[code.rfind("\n", 0, place[0]) + 1 : place[0]]
    return None if before.strip() else len(before)
