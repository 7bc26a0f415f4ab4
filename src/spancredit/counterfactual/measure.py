"""From the spans of a rollout to the answer's drops: exactly, by a proxy, or as well as a budget allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args

import torch

from spancredit.counterfactual.ceiling import within_memory
from spancredit.counterfactual.interventions import Range, Row, intervene
from spancredit.counterfactual.proxies import score_proxy
from spancredit.counterfactual.scorers import Scores, score_rows
from spancredit.names import Intervention, ProxyName
from spancredit.types import Cost

PROXIES = get_args(ProxyName)
BLAME = "blame"  # surprisal again, where only some completions are measured by it


class Settings(Protocol):
    """The part of `CreditConfig` that decides how drops are measured."""

    @property
    def scorer(self) -> str: ...
    @property
    def intervention(self) -> Intervention: ...
    @property
    def needs_influence(self) -> bool: ...
    @property
    def temperature(self) -> float: ...
    @property
    def max_tokens_per_forward(self) -> int: ...


@dataclass(frozen=True)
class Target:
    """What is to be measured of one rollout: its clean row, which has its answer scored, and ranges of that row."""

    clean: Row
    spans: tuple[Range, ...]


@dataclass(frozen=True)
class Measured:
    """What was measured of one rollout.

    Args:
        answer_logp: Clean log-probability of the answer, in nats; None where there is none.
        drops_K: For each span what the answer's log-probability falls by, in nats; a proxy's score instead, for one.
        cost: What it took.
        influence_KK: float32 `(K, K)`, nats, if it was asked for: see `Credit.influence`.
    """

    answer_logp: float | None
    drops_K: tuple[float, ...]
    cost: Cost
    influence_KK: torch.Tensor | None = None

    @property
    def is_finite(self) -> bool:
        numbers = all(map(math.isfinite, (self.answer_logp or 0.0, *self.drops_K)))
        return numbers and (self.influence_KK is None or bool(self.influence_KK.isfinite().all()))


@dataclass(frozen=True)
class Measurement:
    """What was measured of one rollout, and how.

    Args:
        measured: None if it was not: a budget takes a sample of the rollouts where no more fits.
        method: `exact`, `horizon_N`, `coarse`, the name of a proxy, or what else the drops come from.
        agreement: Rank correlation of the drops with exact ones, where this rollout was checked.
    """

    measured: Measured | None
    method: str
    agreement: float | None = None


def method_name(horizon: int | None) -> str:
    return "exact" if horizon is None else f"horizon_{horizon}"


def measure(
    model: Any, targets: Sequence[Target], settings: Settings, replacement: Sequence[int], horizon: int | None
) -> list[Measured]:
    """The drops of every target's spans, whatever that costs."""
    temperature, most = settings.temperature, settings.max_tokens_per_forward
    if settings.scorer in PROXIES:
        rows = [scoring_spans(target) for target in targets]
        found, halved = within_memory(
            lambda most: score_proxy(model, settings.scorer, rows, replacement, temperature, most), model, most
        )
        results = [Measured(logps[-1], logps[:-1], cost) for logps, cost in found]
    else:
        jobs = [rows_of(target, settings, replacement, horizon) for target in targets]
        scores, halved = within_memory(
            lambda most: score_rows(model, jobs, settings.scorer, temperature, most), model, most
        )
        results = [measured(one) for one in scores]
    if halved:
        results[0] = replace(results[0], cost=results[0].cost + Cost(halved=halved))
    return results


def rows_of(target: Target, settings: Settings, replacement: Sequence[int], horizon: int | None) -> list[Row]:
    """The target's clean row, and one for the counterfactual of each of its spans."""
    clean = scoring_spans(target) if settings.needs_influence else target.clean
    masked = [intervene(clean, span, settings.intervention, replacement, horizon) for span in target.spans]
    return [clean, *masked]


def scoring_spans(target: Target) -> Row:
    """The clean row that has its spans scored beside the answer."""
    return replace(target.clean, scored=(*target.spans, *target.clean.scored))


def measured(scores: Scores) -> Measured:
    """The drops of a target from the scores of its rows."""
    (clean, _), *masked = scores
    cost = sum((cost for _, cost in scores), Cost())
    drops_K = tuple(clean[-1] - logps[-1] for logps, _ in masked)
    influence_KK = None
    if len(clean) > 1:
        influence_KK = torch.zeros(len(masked), len(masked))
        for k, (logps, _) in enumerate(masked):
            later = range(k + 1, len(masked))
            influence_KK[k, k + 1 :] = torch.tensor([clean[j] - logps[j - k - 1] for j in later])
    return Measured(clean[-1], drops_K, cost, influence_KK)
