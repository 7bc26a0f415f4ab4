"""What a budget or a horizon would make of the cost: the trial's last batch, scored once more under each."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from spancredit.config import CreditConfig
from spancredit.doctor.checks.cost import DEAR
from spancredit.doctor.facts import Alternative
from spancredit.doctor.rollouts import Trial
from spancredit.errors import ConfigError

BUDGET, HORIZON = 0.1, 64


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
