"""What no exact scorer can avoid: the tokens whose context an intervention changes, and the answers' logits.

Counted from the spans alone, whatever a scorer does. Clean rows share what they begin with (a group's prompt); each
counterfactual is taken to differ from its original at the first token that it changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spancredit.bench.price import Need, Piece
from spancredit.counterfactual.interventions import Intervention

Range = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """One rollout with what is scored of it: spans and answer, half-open ranges of its completion's tokens."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    spans: tuple[Range, ...]
    answer: Range

    @property
    def clean_ids(self) -> tuple[int, ...]:
        """What the model reads to score the answer: everything before the answer's last token."""
        return (*self.prompt_ids, *self.completion_ids[: self.answer[1] - 1])


def policy_need(items: Sequence[Item]) -> Need:
    """One policy forward, without its padding: every token, and the logits of every completion token."""
    sizes = [len(item.prompt_ids) + len(item.completion_ids) for item in items]
    return Need(tuple(Piece(0, size) for size in sizes), sum(len(item.completion_ids) for item in items))


def credit_need(items: Sequence[Item], intervention: Intervention, horizon: int | None = None) -> Need:
    """The least that exact credit needs; with a horizon, the least that credit with this horizon needs."""
    need = Need(tuple(_clean_pieces(items)), sum(item.answer[1] - item.answer[0] for item in items))
    for item in items:
        for span in item.spans:
            pieces = counterfactual_pieces(item, span, intervention, horizon)
            need += Need(tuple(piece for piece in pieces if len(piece)), item.answer[1] - item.answer[0])
    return need


def counterfactual_pieces(item: Item, span: Range, intervention: Intervention, horizon: int | None) -> list[Piece]:
    """Tokens that one counterfactual computes anew, by their positions in its own row."""
    offset = len(item.prompt_ids)
    start, end = offset + span[0], offset + span[1]
    predictor, stop = offset + item.answer[0] - 1, offset + item.answer[1] - 1
    if intervention == "delete":
        return [Piece(start, stop - (end - start))]
    hidden = (start, end) if intervention == "attention" else (0, 0)
    first = end if intervention == "attention" else start
    if horizon is not None and end + horizon < predictor:
        return [Piece(first, end + horizon, hidden), Piece(predictor, stop, hidden)]
    return [Piece(min(first, predictor), stop, hidden)]


def _clean_pieces(items: Sequence[Item]) -> list[Piece]:
    """Clean rows, each from where it leaves the one that it shares most with."""
    rows = sorted(item.clean_ids for item in items)
    pairs = pairwise([(), *rows])
    return [Piece(_common(old, new), len(new)) for old, new in pairs if old != new]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
