"""Jobs: what is measured of one rollout, whoever measures it, and by which method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from spancredit.config import CreditConfig
from spancredit.counterfactual.budget import default_allowance, within_budget
from spancredit.counterfactual.measure import BLAME, PROXIES, Measurement, Target, measure, method_name
from spancredit.counterfactual.prices import price_alone
from spancredit.draws import number_of
from spancredit.types import Rollout


@dataclass(frozen=True)
class Job:
    """One rollout's target, and what decides how it is measured.

    Args:
        tokens: Of the rollout, prompt and completion.
        blamed: Whether surprisal is measured in the place of drops: where mode `blame` finds a negative advantage.
        lot: A number of the rollout's own, by which a budget draws; 0 without one.
    """

    target: Target
    tokens: int
    blamed: bool
    lot: int

    @classmethod
    def of(cls, rollout: Rollout, target: Target, config: CreditConfig) -> "Job":
        ids = [*rollout.prompt_ids, *rollout.completion_ids]
        blamed = config.mode == BLAME and (rollout.advantage or 0.0) < 0
        lot = 0 if config.budget is None else number_of(config.seed, ids)
        return cls(target, len(ids), blamed, lot)


def price(job: Job, config: CreditConfig, packs: bool) -> int:
    """Tokens that the job takes by itself, exactly measured."""
    settings = _blaming(config) if job.blamed else config
    return price_alone(job.target, settings, config.horizon, packs)


def measure_jobs(
    model: Any, jobs: Sequence[Job], config: CreditConfig, replacement: Sequence[int], allowance: float | None
) -> list[Measurement]:
    """Drops tell what an answer was made of, surprisal where a completion of negative advantage went wrong.

    Args:
        allowance: Tokens that all of it may take under a budget; None: by the tokens of the jobs. Surprisals take
            theirs first: one forward of a rollout is as little as any measurement takes.
    """
    if config.budget is not None and allowance is None:
        allowance = default_allowance(config.budget, sum(job.tokens for job in jobs))
    blamed = [job.target for job in jobs if job.blamed]
    others = [job for job in jobs if not job.blamed]
    surprisals = measure(model, blamed, _blaming(config), replacement, None) if blamed else []
    left = None if allowance is None else allowance - sum(one.cost.tokens for one in surprisals)
    drops = iter(_drops(model, others, config, replacement, left))
    found = iter(surprisals)
    return [Measurement(next(found), BLAME) if job.blamed else next(drops) for job in jobs]


def _blaming(config: CreditConfig) -> CreditConfig:
    return replace(config, mode="counterfactual", scorer="surprisal", horizon=None, budget=None, influence=False)


def _drops(
    model: Any, jobs: Sequence[Job], config: CreditConfig, replacement: Sequence[int], allowance: float | None
) -> list[Measurement]:
    targets = [job.target for job in jobs]
    if config.budget is not None and allowance is not None:
        return within_budget(model, targets, config, replacement, allowance, [job.lot for job in jobs])
    method = config.scorer if config.scorer in PROXIES else method_name(config.horizon)
    return [Measurement(one, method) for one in measure(model, targets, config, replacement, config.horizon)]
