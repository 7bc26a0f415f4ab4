"""What no exact scorer can avoid: each token in each context that it is read in, once, and the answers' logits.

Counted from the rows that the interventions define, whatever a scorer does with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spancredit.bench.price import Need, Piece
from spancredit.counterfactual.interventions import Row, clean_row, intervene
from spancredit.names import Intervention
from spancredit.types import Rollout, Span

Range = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """One rollout with what is scored of it: spans and answer, half-open ranges of its completion's tokens."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    spans: tuple[Range, ...]
    answer: Range


def policy_need(items: Sequence[Item]) -> Need:
    """One policy forward as a trainer makes it: every row as wide as the longest prompt and the longest completion,
    and the logits of all those completion tokens. Floors are in units of it, padding included, as timings are."""
    prompt = max(len(item.prompt_ids) for item in items)
    size = max(len(item.completion_ids) for item in items)
    return Need((Piece(0, prompt + size),) * len(items), len(items) * size)


def credit_need(
    items: Sequence[Item], intervention: Intervention, replacement: Sequence[int], horizon: int | None = None
) -> Need:
    """The least that exact credit needs; with a horizon, the least that credit with this horizon needs."""
    rows = [row for item in items for row in rows_of(item, intervention, replacement, horizon)]
    paths = sorted((_path(row), row.hidden or (0, 0)) for row in rows)
    pieces: list[Piece] = []
    for (before, _), (path, hidden) in pairwise([((), (0, 0)), *paths]):
        common = _common(before, path)
        if common < len(path):
            first, last = path[common][0], path[-1][0] + 1
            pieces += [Piece(first, min(last, hidden[0])), Piece(max(first, hidden[1]), last, hidden)]
    pieces += [_asking(row) for row in rows]
    return Need(tuple(p for p in pieces if p.start < p.end), sum(b - a for row in rows for a, b in row.scored[-1:]))


def rows_of(item: Item, intervention: Intervention, replacement: Sequence[int], horizon: int | None) -> list[Row]:
    """What is read: the clean row, and one for each span."""
    clean = clean_row(Rollout(item.prompt_ids, item.completion_ids), Span(*item.answer, "answer"))
    offset = len(item.prompt_ids)
    spans = [(offset + start, offset + end) for start, end in item.spans]
    return [clean, *(intervene(clean, span, intervention, replacement, horizon) for span in spans)]


def _path(row: Row) -> list[tuple[int, int]]:
    """Positions and tokens that a row reads one after the other; with a horizon, up to where it ends."""
    stop = len(row.input_ids) - 1 if row.resume is None else row.resume
    hidden = range(*row.hidden) if row.hidden is not None else range(0)
    return [(position, row.input_ids[position]) for position in range(stop) if position not in hidden]


def _asking(row: Row) -> Piece:
    """What a row reads outside its path: beyond a horizon the answer, and a hidden token that predicts the answer."""
    predictor, hidden = row.answer_start - 1, row.hidden or (0, 0)
    if row.resume is not None:
        return Piece(predictor, len(row.input_ids) - 1, hidden)
    return Piece(predictor, predictor + int(hidden[0] <= predictor < hidden[1]), hidden)


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
