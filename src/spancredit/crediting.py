"""From what was measured of a rollout to its credit: drops -> importances -> weights of spans -> weights of tokens."""

import math
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Final

import torch

from spancredit.config import CreditConfig
from spancredit.counterfactual.measure import BLAME, PROXIES, Measured, Measurement
from spancredit.draws import number_of
from spancredit.errors import ConfigError, RolloutError
from spancredit.plan import Plan, reason_to_skip
from spancredit.text.locate import Ranges, given_spans
from spancredit.types import Cost, Credit, Rollout, SpanCredit
from spancredit.validation import ModelFacts, check_one_each, checked, config_of, numbers_of
from spancredit.weighting import arrange, importances, mediated, token_weights

EXECUTION: Final = ("execution", "exchange")  # drops in the outcome itself: the share of tests that pass
GIVEN: Final = "given"  # drops in a unit that the caller knows
NOTHING_KNOWN = ModelFacts(vocab_size=None, max_positions=None, pad_token_id=None)
NEED_POLICY = {"mediated": "the influence of spans on each other", "blame": "the surprisal of tokens"}


def credit_of(
    rollout: Rollout, plan: Plan, found: Measurement | None, config: CreditConfig, own_scale: float | None = None
) -> Credit:
    """The credit of one rollout, from what was measured of it; None leaves it uniform, for the plan's reason.

    Args:
        own_scale: The full scale of drops that are not in nats, and have no noise; None: the largest of the completion.
    """
    size = len(rollout.completion_ids)
    if found is None:
        return Credit(torch.ones(size), answer=plan.answer, reason=plan.reason)
    measured = found.measured
    if measured is None:
        return Credit(torch.ones(size), answer=plan.answer, reason="over_budget")
    drops_K = measured.drops_K
    if not measured.is_finite:
        return Credit(torch.ones(size), answer=plan.answer, reason="non_finite", cost=measured.cost)

    of_outcome = found.method in (*EXECUTION, GIVEN)
    floor, full_scale = config.noise_floor, config.full_scale
    if of_outcome or found.method in (*PROXIES, BLAME):  # no drop in nats
        floor, full_scale = 0.0, own_scale or sys.float_info.min
    known_outcome = of_outcome or (rollout.probe is not None and found.method not in (*PROXIES, BLAME))
    blames = known_outcome and (rollout.advantage or 0.0) < 0
    signed_K = [0.0 - drop for drop in drops_K] if blames else drops_K
    if config.mode == "mediated" and measured.influence_KK is not None:
        importances_K = importances(mediated(signed_K, measured.influence_KK, floor), 0.0, full_scale)
    else:
        importances_K = importances(signed_K, floor, full_scale)
    scores_K = arrange(importances_K, config.mode, number_of(config.seed, rollout.completion_ids))
    raw_K = [config.min_weight + (config.boost - config.min_weight) * score for score in scores_K]
    weights_T = token_weights(
        size, plan.spans, raw_K, plan.answer, config.answer_weight, rollout.loss_mask, config.conserve
    )
    loss_T = weights_T if rollout.loss_mask is None else weights_T[torch.as_tensor(rollout.loss_mask).bool()]
    reason = "no_loss_token" if not loss_T.any() else None if any(importances_K) else "below_noise_floor"
    if reason is not None:
        weights_T = torch.ones(size)
    credited = tuple(
        SpanCredit(s.start, s.end, s.kind, s.text, drop, importance, float(weights_T[s.start]))
        for s, drop, importance in zip(plan.spans, drops_K, importances_K, strict=True)
    )
    return Credit(
        weights_T,
        credited,
        plan.answer,
        measured.answer_logp,
        reason,
        measured.cost,
        measured.influence_KK,
        found.method,
        found.agreement,
    )


def credit_from_drops(
    rollouts: Sequence[Rollout],
    spans: Sequence[Ranges],
    drops: Sequence[Sequence[float] | None],
    config: CreditConfig | None = None,
    *,
    costs: Sequence[Cost] | None = None,
    method: str = GIVEN,
    full_scale: float | None = None,
) -> list[Credit]:
    """Credit for drops that were measured by other means than log-probabilities, such as running a program's tests.

    Importance is the drop over the largest of the completion, above 0. Where the advantage is negative it is that of
    `-drop`: the blame goes to what keeps the outcome from being better. There is no answer, so none is weighed.

    Args:
        spans: For each rollout ranges of completion tokens, in order, disjoint. Arrays and tensors serve here
            and below.
        drops: For each rollout a number for each of its spans, in any unit: what the outcome falls by without it. None:
            nothing could be run.
        config: How drops become weights; what it says of measuring is not read.
        costs: What measuring each rollout took.
        method: What the credit calls it.
        full_scale: The drop of importance 1, in its own unit, if no larger one is in the completion; smaller ones are
            never scaled up to it. None: the largest of the completion, however small.

    Raises:
        RolloutError: if drops are not one a span, or no numbers; if a rollout cannot be what was meant.
        ConfigError: if the mode is `mediated` or `blame`, which need the policy's log-probabilities, or `full_scale` is
            no positive number.
    """
    config = config_of(config)
    if config.mode in NEED_POLICY:
        raise ConfigError(f"mode {config.mode!r} needs {NEED_POLICY[config.mode]}; drops alone say nothing of it.")
    if full_scale is not None and not (isinstance(full_scale, Real) and 0 < full_scale < math.inf):
        raise ConfigError(f"full_scale is {full_scale!r}; expected None or a number above 0.")
    own_scale = None if full_scale is None else float(full_scale)
    credits = []
    rollouts = checked(rollouts, NOTHING_KNOWN)
    costs = [Cost()] * len(rollouts) if costs is None else costs
    for what, own_of_each in {"spans": spans, "drops": drops, "costs": costs}.items():
        check_one_each(what, own_of_each, rollouts)
    for i, (rollout, own, given, cost) in enumerate(zip(rollouts, spans, drops, costs, strict=True)):
        found = given_spans(i, own, len(rollout.completion_ids))
        measured = None if given is None else numbers_of(i, given, "drops", "a number for each of its spans, or None")
        if measured is not None and len(measured) != len(found):
            raise RolloutError(
                f"rollout {i} has {len(measured)} drops; expected one for each of its {len(found)} spans."
            )
        reason = reason_to_skip(rollout, config, NOTHING_KNOWN)
        if reason is None and not (measured and found):
            reason = "no_program" if measured is None else "no_span"
        measurement = None if reason else Measurement(Measured(None, tuple(measured or ()), cost), method)
        credits.append(credit_of(rollout, Plan(reason=reason, spans=tuple(found)), measurement, config, own_scale))
    return credits
