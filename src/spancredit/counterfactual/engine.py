"""Measuring by an engine: a function that says how likely the tokens of sequences are, wherever the policy is."""

from collections.abc import Callable, Sequence
from typing import get_args

import torch.distributed as dist

from spancredit.config import CreditConfig
from spancredit.counterfactual.budget import Budgeted, method_name
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.jobs import Job
from spancredit.counterfactual.measure import BLAME, Measured, Target, measured, rows_of, scoring_spans
from spancredit.counterfactual.proxies import ProxyName
from spancredit.errors import ConfigError, ModelError
from spancredit.types import Cost

SURPRISAL = "surprisal"
LogProbs = Callable[[list[list[int]]], Sequence[Sequence[float]]]


def check_engine(config: CreditConfig) -> None:
    """Raise a ConfigError if measuring needs more than log-probabilities of sequences."""
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
) -> list[Budgeted]:
    """What `measure_jobs` measures, in one call of the engine.

    Raises:
        ModelError: if it returns anything else than one number a token.
    """
    surprised = [job.blamed or config.scorer == SURPRISAL for job in jobs]
    rows = [
        [scoring_spans(job.target)] if by_surprisal else rows_of(job.target, config, replacement, None)
        for job, by_surprisal in zip(jobs, surprised, strict=True)
    ]
    logps = iter(_ask(logprobs, [row for some in rows for row in some], group))
    found = []
    for job, some, by_surprisal in zip(jobs, rows, surprised, strict=True):
        scores = [(_sums(row, next(logps)), Cost(len(row.input_ids), 1)) for row in some]
        if by_surprisal:
            method = BLAME if job.blamed else SURPRISAL
            found.append(Budgeted(_surprisals(job.target, *scores[0]), method))
        else:
            found.append(Budgeted(measured(scores), method_name(None)))
    return found


def _ask(logprobs: LogProbs, rows: Sequence[Row], group: dist.ProcessGroup | None) -> list[Sequence[float]]:
    """One call, with as many sequences on each rank: those of a rank that has fewer are filled up with the shortest."""
    sequences = [list(row.input_ids) for row in rows]
    count = len(sequences)
    if group is not None:
        everyone: list[tuple[int, list[int]]] = [(0, [])] * dist.get_world_size(group)
        dist.all_gather_object(everyone, (count, min(sequences, key=len, default=[])), group=group)
        shortest = min((ids for _, ids in everyone if ids), key=len, default=[])
        sequences += [shortest] * (max(size for size, _ in everyone) - count)
    if not sequences:
        return []
    logps = logprobs(sequences)
    if len(logps) != len(sequences):
        raise ModelError(f"logprobs returned {len(logps)} sequences; expected one for each of {len(sequences)}.")
    for i, (ids, numbers) in enumerate(zip(sequences, logps, strict=True)):
        if len(numbers) != len(ids):
            raise ModelError(
                f"logprobs returned {len(numbers)} numbers for sequence {i}; expected {len(ids)}, one a token."
            )
    return list(logps[:count])


def _sums(row: Row, logps_L: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(sum(map(float, logps_L[start:end]))) for start, end in row.scored)


def _surprisals(target: Target, sums: tuple[float, ...], cost: Cost) -> Measured:
    """Mean surprisal of each span, in nats a token."""
    means_K = tuple(-total / (end - start) for total, (start, end) in zip(sums, target.spans, strict=False))
    return Measured(sums[-1], means_K, cost)
