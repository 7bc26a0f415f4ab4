"""Exchanges: a program with one of its stretches as another program has it."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from spancredit.execution.variants import Range, core, reads, variants


def exchanges(code: str, stretches: Sequence[Range], other: str, others: Sequence[Range]) -> list[str | None]:
    """For each stretch the program with what stands in its place in the other one.

    Stretches that both have, in the same order, are taken as the places that others stand between. Where as many stand
    between, each is exchanged for its counterpart; where more or fewer do, all of them at once; where the other has
    none, the stretch is taken away, as in `variants`. None where both have the same, where Python could not read what
    comes out, and where there is nothing to exchange.
    """
    mine, theirs = [core(code, one) for one in stretches], [core(other, one) for one in others]
    full, fuller = ([k for k, (start, end) in enumerate(some) if start < end] for some in (mine, theirs))
    exchanged: list[str | None] = [None] * len(stretches)
    differences = _differences([code[slice(*mine[k])] for k in full], [other[slice(*theirs[k])] for k in fuller])
    for first, last, there, until in differences:
        own = full[first:last]
        if there == until:
            without = variants(code, [stretches[k] for k in own])
        else:
            text = other[theirs[fuller[there]][0] : theirs[fuller[until - 1]][1]]
            changed = code[: mine[own[0]][0]] + text + code[mine[own[-1]][1] :]
            without = [changed if reads(changed) else None] * len(own)
        for k, variant in zip(own, without, strict=True):
            exchanged[k] = variant
    return exchanged


def _differences(mine: list[str], theirs: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of the one and of the other that stand in the same place and are not the same; none is empty in mine."""
    for tag, first, last, there, until in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag == "replace" and last - first == until - there:
            yield from ((first + k, first + k + 1, there + k, there + k + 1) for k in range(last - first))
        elif tag in ("replace", "delete"):
            yield first, last, there, until
