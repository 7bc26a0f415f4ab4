"""Scorers: rows -> log-probability of what they have scored. `sequential` is the definition; the others equal it."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import torch

from spancredit.counterfactual.forward import resumed_logps, row_logps, share_forwards
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.packable import outruns, why_not
from spancredit.counterfactual.packed import score_packed
from spancredit.counterfactual.projection import computing_dtype
from spancredit.errors import ModelError
from spancredit.types import Cost

# Nats, for a log-probability of 1 nat and in proportion for larger ones.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
Scores = list[tuple[tuple[float, ...], Cost]]  # for each row: log-probability of each scored range, and what it took


class Scorer(Protocol):
    def __call__(self, model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores: ...


def sequential(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """The definition: one forward for each row, batch 1, no padding; three where it has a horizon."""
    scores: Scores = []
    for row in rows:
        if row.resume is None:
            scores.append((row_logps(model, [row], temperature)[0], Cost(len(row.input_ids), 1)))
        else:
            tokens = len(row.input_ids) + row.resume - row.start  # what the intervention changes is read twice
            scores.append((resumed_logps(model, row, temperature), Cost(tokens, 3)))
    return scores


def batched(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """Rows of similar length in one forward, left-padded and masked. It is counted at the first of its rows."""
    scores: Scores = [((), Cost())] * len(rows)
    for batch in share_forwards(model, rows, max_tokens):
        width = max(len(rows[i].input_ids) for i in batch)
        for nth, (i, found) in enumerate(
            zip(batch, row_logps(model, [rows[i] for i in batch], temperature), strict=True)
        ):
            scores[i] = found, Cost(width, int(nth == 0))
    return scores


def packed(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """Only what an intervention can change is recomputed. What cannot be packed falls back, which is counted.

    It falls back to padded batches, and row by row where it has a horizon. Rows whose numbers are not finite do too:
    in company, a NaN of one would be everyone's.
    """
    why = why_not(model)
    if why is not None and model not in WARNED:
        WARNED.add(model)
        message = f"spancredit: {type(model).__name__} cannot be packed ({why}); its rows are scored in padded batches."
        warnings.warn(message, stacklevel=2)
    left = [i for i, row in enumerate(rows) if why is not None or outruns(model, row)]
    fit = sorted(set(range(len(rows))).difference(left))
    scores: dict[int, tuple[tuple[float, ...], Cost]] = {}
    if fit:
        scores |= dict(zip(fit, score_packed(model, [rows[i] for i in fit], temperature, max_tokens), strict=True))
    left += [i for i in fit if not all(map(math.isfinite, scores[i][0]))]
    for scorer, some in (
        (batched, [i for i in left if rows[i].resume is None]),
        (sequential, [i for i in left if rows[i].resume is not None]),
    ):
        found = scorer(model, [rows[i] for i in some], temperature, max_tokens)
        for i, (logps, cost) in zip(some, found, strict=True):
            tried = scores[i][1] if i in scores else Cost()
            scores[i] = logps, tried + cost + Cost(fallbacks=1)
    return [scores[i] for i in range(len(rows))]


WARNED: WeakSet[Any] = WeakSet()
SCORERS: dict[str, Scorer] = {"packed": packed, "batched": batched, "sequential": sequential}


def score_rows(
    model: Any, jobs: Sequence[Sequence[Row]], scorer: str, temperature: float, max_tokens: int
) -> list[Scores]:
    """Scores of every job's rows, a job being a rollout's clean row and its counterfactuals.

    The first time that a model is scored in some way (see `_way`), the shortest job and the longest are scored by the
    definition too (the clean row; the first, middle and last counterfactual). Costs leave this out, so that they are
    the same in a run and in one that resumes it.

    Raises:
        ModelError: if the two differ by more than rounding in the dtype of the computation can.
    """
    flat = SCORERS[scorer](model, [row for job in jobs for row in job], temperature, max_tokens)
    remaining = iter(flat)
    scores = [[next(remaining) for _ in job] for job in jobs]
    if jobs and scorer != "sequential" and _way(scorer, jobs) not in CHECKED.setdefault(model, set()):
        order = sorted(range(len(jobs)), key=lambda i: len(jobs[i][0].input_ids))
        checked = [_check(model, jobs[i], scores[i], scorer, temperature) for i in {order[0], order[-1]}]
        if all(checked):
            CHECKED[model].add(_way(scorer, jobs))
    return scores


CHECKED: WeakKeyDictionary[Any, set[tuple[object, ...]]] = WeakKeyDictionary()


def _way(scorer: str, jobs: Sequence[Sequence[Row]]) -> tuple[object, ...]:
    """What scoring depends on: the scorer, company, hidden spans, a horizon, the power of 2 that the length reaches."""
    rows = [row for job in jobs for row in job]
    longest = max(len(row.input_ids) for row in rows)
    hides, resumes = any(row.hidden for row in rows), any(row.resume for row in rows)
    return scorer, len(jobs) > 1, hides, resumes, longest.bit_length()


def _check(model: Any, job: Sequence[Row], scores: Scores, scorer: str, temperature: float) -> bool:
    """Hold a job's scores to the definition; False if the definition gives no finite number to hold them to."""
    chosen = sorted({0, min(1, len(job) - 1), len(job) // 2, len(job) - 1})
    with computing_dtype(model) as dtypes:
        definition = sequential(model, [job[i] for i in chosen], temperature, 0)
    loosest = max(TOLERANCE[dtype] for dtype in (compute_dtype(model), *dtypes))
    pairs = [
        pair for i, (exact, _) in zip(chosen, definition, strict=True) for pair in zip(scores[i][0], exact, strict=True)
    ]
    for got, expected in pairs:
        tolerance = loosest * max(1.0, abs(expected))
        if math.isfinite(expected) and not abs(got - expected) <= tolerance:
            raise ModelError(
                f"self-check failed: {scorer} gives a range {got:.6f} nats, sequential {expected:.6f}, expected at "
                f"most {tolerance:g} apart; {type(model).__name__} needs scorer='sequential'."
            )
    return all(math.isfinite(expected) for _, expected in pairs)


def compute_dtype(model: Any) -> torch.dtype:
    """The dtype of the matrix products: autocast's where it is on, else the weights'; TF32 rounds like float16."""
    parameter = next(model.parameters())
    device = parameter.device.type
    if device == "cuda" and parameter.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        return torch.float16
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parameter.dtype
