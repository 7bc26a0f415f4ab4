"""Measuring by an engine: a function that says how likely the tokens of sequences are, wherever the policy is."""

from collections.abc import Callable, Sequence
from reprlib import repr as repr_short
from typing import Any, get_args

import torch.distributed as dist
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.jobs import Job
from spancredit.counterfactual.measure import (
    BLAME,
    Measured,
    Measurement,
    Target,
    measured,
    method_name,
    rows_of,
    scoring_spans,
)
from spancredit.errors import ConfigError, ModelError
from spancredit.names import ProxyName
from spancredit.types import Cost

SURPRISAL = "surprisal"
SAME = 1.0  # nats that two companies can change the same number by, at the most
ROUNDING = 1e-2  # nats by which the log-probability of a certain token can be above 0
LogProbs = Callable[[list[list[int]]], Sequence[Sequence[float]]]


def check_engine(config: CreditConfig, logprobs: Any = callable) -> None:
    """Raise a ConfigError if measuring needs more than log-probabilities of sequences, or nothing gives them."""
    if not callable(logprobs) or isinstance(logprobs, PreTrainedTokenizerBase):
        raise ConfigError(f"logprobs is a {type(logprobs).__name__}; expected a function of sequences of token ids.")
    others = [name for name in get_args(ProxyName) if name != SURPRISAL]
    for setting, holds in {
        f"horizon {config.horizon}": config.horizon is not None,
        f"budget {config.budget}": config.budget is not None,
        f"intervention {config.intervention!r}": config.intervention == "attention",
        f"scorer {config.scorer!r}": config.scorer in others,
    }.items():
        if holds:
            raise ConfigError(
                f"{setting} needs the policy itself; expected what log-probabilities of whole sequences can measure."
            )


def measure_by_engine(
    logprobs: LogProbs,
    jobs: Sequence[Job],
    config: CreditConfig,
    replacement: Sequence[int],
    group: dist.ProcessGroup | None,
) -> list[Measurement]:
    """What `measure_jobs` measures, in one call of the engine.

    Raises:
        ModelError: if it returns anything else than one log-probability a token.
    """
    surprised = [job.blamed or config.scorer == SURPRISAL for job in jobs]
    rows = [
        [scoring_spans(job.target)] if by_surprisal else rows_of(job.target, config, replacement, None)
        for job, by_surprisal in zip(jobs, surprised, strict=True)
    ]
    sums = iter(_ask(logprobs, [row for some in rows for row in some], group))
    found = []
    for job, some, by_surprisal in zip(jobs, rows, surprised, strict=True):
        scores = [(next(sums), Cost(len(row.input_ids), 1)) for row in some]
        if by_surprisal:
            method = BLAME if job.blamed else SURPRISAL
            found.append(Measurement(_surprisals(job.target, *scores[0]), method))
        else:
            found.append(Measurement(measured(scores), method_name(None)))
    return found


def _ask(logprobs: LogProbs, rows: Sequence[Row], group: dist.ProcessGroup | None) -> list[tuple[float, ...]]:
    """For each row the log-probability (nats) of each range it has scored, from one call.

    The call has as many sequences on each rank: those of a rank that has fewer are filled up with the shortest.
    """
    sequences = [list(row.input_ids) for row in rows]
    if group is not None:
        everyone: list[tuple[int, list[int]]] = [(0, [])] * dist.get_world_size(group)
        dist.all_gather_object(everyone, (len(rows), min(sequences, key=len, default=[])), group=group)
        shortest = min((ids for _, ids in everyone if ids), key=len, default=[])
        sequences += [shortest] * (max(size for size, _ in everyone) - len(rows))
    if not sequences:
        return []
    logps = logprobs(sequences)
    if _size(logps) != len(sequences):
        raise ModelError(f"logprobs returned {_told(logps, 'sequences')}; expected one for each of {len(sequences)}.")
    for i, (ids, numbers) in enumerate(zip(sequences, logps, strict=True)):
        if _size(numbers) != len(ids):
            raise ModelError(
                f"logprobs returned {_told(numbers, 'numbers')} for sequence {i}; expected {len(ids)}, one a token."
            )
    sums = [_sums(i, row, numbers) for i, (row, numbers) in enumerate(zip(rows, logps, strict=False))]
    _check_places(rows, logps)
    return sums


def _check_places(rows: Sequence[Row], logps: Sequence[Sequence[float]]) -> None:
    """A row and its counterfactual say the same up to the span; if not, numbers stand one place too early."""
    clean: dict[tuple[int, ...], Sequence[float]] = {}
    for i, (row, logps_L) in enumerate(zip(rows, logps, strict=False)):
        if row.original is None:
            clean[row.input_ids] = logps_L
        elif row.start > 1:
            place = row.start - 1
            before, here = _logp(i, clean[row.original][place]), _logp(i, logps_L[place])
            if abs(before - here) > SAME:
                raise ModelError(
                    f"logprobs returned {here:.3f} nats for token {place} of sequence {i} and {before:.3f} without the "
                    "change behind it; expected the same: each place has to hold its own token's log-probability, not "
                    "the next one's."
                )


def _size(found: Any) -> int | None:
    """How many there are; None of what has no length."""
    try:
        return len(found)
    except TypeError:
        return None


def _told(found: Any, what: str) -> str:
    size = _size(found)
    return f"a {type(found).__name__}" if size is None else f"{size} {what}"


def _sums(i: int, row: Row, logps_L: Sequence[float]) -> tuple[float, ...]:
    return tuple(sum((_logp(i, logp) for logp in logps_L[start:end]), 0.0) for start, end in row.scored)


def _logp(i: int, value: Any) -> float:
    """A log-probability, which may be -inf or NaN, but no loss: with its sign turned, credit would be, too."""
    if not hasattr(value, "__float__") or getattr(value, "ndim", None):
        shape = getattr(value, "shape", None)
        got = repr_short(value) if shape is None else f"a {type(value).__name__} of shape {tuple(shape)}"
        raise ModelError(
            f"logprobs returned sequence {i} with {got}; expected a number for each token: its own log-probability, no "
            "logits of all."
        )
    if float(value) > ROUNDING:
        raise ModelError(
            f"logprobs returned sequence {i} with {float(value):g}; expected log-probabilities, at most 0."
        )
    return float(value)


def _surprisals(target: Target, sums: tuple[float, ...], cost: Cost) -> Measured:
    """Mean surprisal of each span, in nats a token."""
    means_K = tuple(-total / (end - start) for total, (start, end) in zip(sums, target.spans, strict=False))
    return Measured(sums[-1], means_K, cost)
