"""Scorers: rows -> log-probability of their answers. `sequential` is the definition; every other one must equal it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal, Protocol

import torch

from spancredit.counterfactual.forward import accepts, answer_logps, eval_mode
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.packed import outruns_window, score_packed, why_not
from spancredit.errors import ModelError
from spancredit.types import Cost

ScorerName = Literal["packed", "batched", "sequential"]
Scores = list[tuple[float, Cost]]  # for each row: log-probability of the answer in nats, and what it took


class Scorer(Protocol):
    def __call__(self, model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores: ...


def sequential(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """The definition: one forward for each row, batch 1, no padding."""
    return [(answer_logps(model, [row], temperature)[0], Cost(len(row.input_ids), 1)) for row in rows]


def batched(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """Rows of similar length in one forward, left-padded and masked, at most `max_tokens` with the padding.

    A model that takes no `position_ids` cannot be padded exactly; its rows share a forward where they are as long.
    A forward is counted at the first of its rows.
    """
    exact_length = not accepts(model, "position_ids")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids), reverse=True)
    scores: list[tuple[float, Cost]] = [(0.0, Cost())] * len(rows)
    for _, same in groupby(order, key=lambda i: len(rows[i].input_ids) if exact_length else None):
        indices = list(same)
        while indices:
            width = len(rows[indices[0]].input_ids)
            batch, indices = indices[: max(1, max_tokens // width)], indices[max(1, max_tokens // width) :]
            logps = answer_logps(model, [rows[i] for i in batch], temperature)
            for nth, (i, logp) in enumerate(zip(batch, logps, strict=True)):
                scores[i] = logp, Cost(width, int(nth == 0))
    return scores


def packed(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """Only what an intervention can change is recomputed. What cannot be packed is batched, which is counted."""
    why = why_not(model)
    if why is not None:
        message = f"spancredit: {type(model).__name__} cannot be packed ({why}); its rows are scored in padded batches."
        warnings.warn(message, stacklevel=2)
    left = [i for i, row in enumerate(rows) if why is not None or outruns_window(model, row)]
    fit = [i for i in range(len(rows)) if i not in set(left)]
    scores: dict[int, tuple[float, Cost]] = {}
    if fit:
        scores |= dict(zip(fit, score_packed(model, [rows[i] for i in fit], temperature, max_tokens), strict=True))
    for i, (logp, cost) in zip(left, batched(model, [rows[i] for i in left], temperature, max_tokens), strict=True):
        scores[i] = logp, cost + Cost(fallbacks=1)
    return [scores[i] for i in range(len(rows))]


SCORERS: dict[str, Scorer] = {"packed": packed, "batched": batched, "sequential": sequential}


def self_check(model: Any, row: Row, scorer: Scorer, temperature: float, max_tokens: int) -> None:
    """Compare a scorer with the definition on one row, on a copy that parts from it half-way, and on a shorter one.

    They share a forward whatever `max_tokens` is, so that padding and packing are put to the test. A row that the
    definition gives no finite number is not compared.

    Raises:
        ModelError: if they differ by more than rounding in the dtype of the computation can.
    """
    ids, width = row.input_ids, len(row.input_ids)
    middle = (width - row.answer_size) // 2
    rows = [
        row,
        replace(row, input_ids=(*ids[:middle], ids[-1], *ids[middle + 1 :])),
        replace(row, input_ids=ids[middle:]),
    ]
    with eval_mode(model):
        scores = scorer(model, rows, temperature, max(max_tokens, 3 * width))
        definition = sequential(model, rows, temperature, max_tokens)
    dtype = _compute_dtype(model)
    for (got, _), (expected, _) in zip(scores, definition, strict=True):
        tolerance = {torch.float64: 1e-8, torch.float32: 1e-3}.get(dtype, 0.05 * max(1.0, abs(expected)))
        if math.isfinite(expected) and not abs(got - expected) <= tolerance:
            raise ModelError(
                f"self-check failed: this scorer gives the answer {got:.6f} nats, the sequential scorer "
                f"{expected:.6f}, expected at most {tolerance:g} apart in {dtype}; {type(model).__name__} needs "
                "scorer='sequential'."
            )


def _compute_dtype(model: Any) -> torch.dtype:
    """The dtype of the matrix products: autocast's where it is on, else that of the weights."""
    parameter = next(model.parameters())
    device = parameter.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parameter.dtype
