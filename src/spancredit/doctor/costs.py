"""What credit takes if everything is scored, and what a budget or a horizon would make of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from spancredit.bench.timing import Peak, free_bytes
from spancredit.config import CreditConfig
from spancredit.doctor.rollouts import Job, Trial
from spancredit.doctor.spending import DEAR, Alternative, Cost, Memory
from spancredit.errors import ConfigError
from spancredit.types import Credit, Rollout

BUDGET, HORIZON = 0.1, 64


def all_scored(
    job: Job, trial: Trial, rollouts: Sequence[Rollout], config: CreditConfig
) -> tuple[list[Credit], Cost, Memory]:
    """The credit of all rollouts of a trial, which have no advantage to be left out for, and what that took.

    Seconds are at the pace of the timed step, if that scored anything.
    """
    device, cost = trial.trainer.accelerator.device.type, trial.cost
    peak = Peak(device)
    started = time.perf_counter()
    credits = trial.score(rollouts, config)
    seconds = time.perf_counter() - started
    tokens = sum(one.cost.tokens for one in credits)
    if cost.tokens:
        seconds = tokens * cost.credit / cost.tokens
    full = 0.0 if job.asked.credit.budget else seconds * cost.completions / len(rollouts)
    memory = Memory(
        credit=peak.bytes(),
        training=trial.training_peak,
        free=free_bytes(device),
        tokens=tokens,
        forwards=sum(one.cost.forwards for one in credits),
        micro_batch=(job.trial.per_device_train_batch_size, job.asked.per_device_train_batch_size),
    )
    return credits, replace(cost, full=full), memory


def alternatives(trial: Trial, config: CreditConfig) -> list[Alternative]:
    """Their shares, from the tokens that they forward; none where credit takes little, or there is one already."""
    if trial.cost.share < DEAR or not trial.cost.tokens or config.budget is not None or config.horizon is not None:
        return []
    return [_measured(trial, setting, changed) for setting, changed in _possible(config)]


def _possible(config: CreditConfig) -> Iterator[tuple[str, CreditConfig]]:
    """Settings that go with the others and might be cheaper."""
    changes: dict[str, dict[str, Any]] = {
        f"credit_budget={BUDGET}": {"budget": BUDGET},
        f"credit_horizon={HORIZON}": {"horizon": HORIZON},
    }
    if config.scorer in ("sequential", "batched"):
        changes = {"credit_scorer=packed": {"scorer": "packed"}}
    for setting, change in changes.items():
        try:
            yield setting, replace(config, **change)
        except ConfigError:  # it does not go with the other settings
            continue


def _measured(trial: Trial, setting: str, config: CreditConfig) -> Alternative:
    cost, rollouts = trial.cost, trial.batches[-1].rollouts
    allowance = None
    if config.budget is not None:
        allowance = config.budget / (1 - config.budget) * cost.rest / (cost.credit / cost.tokens)
    credits = trial.score(rollouts, config, allowance)
    seconds = cost.credit / cost.tokens * sum(one.cost.tokens for one in credits)
    return Alternative(
        setting=setting,
        share=seconds / (seconds + cost.rest),
        measured=sum(bool(one.spans) for one in credits),
        of=cost.scored,
        methods=sorted({one.method for one in credits if one.method is not None}),
    )
