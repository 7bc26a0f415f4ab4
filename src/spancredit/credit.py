"""assign_credit: the whole pipeline on one screen.

completion ids -> text -> spans -> counterfactuals -> answer log-probs -> drops -> token weights
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.budget import Budgeted, default_allowance, method_name, within_budget
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import clean_row, replacement_ids
from spancredit.counterfactual.measure import BLAME, PROXIES, Target, measure
from spancredit.text.locate import FIND, Ranges, locate_reasoning
from spancredit.types import Credit, Rollout, Span, SpanCredit
from spancredit.validation import ModelFacts, check_own_ranges, check_replacement, check_rollout
from spancredit.weighting import arrange, importances, mediated, permutation_seed, token_weights


def assign_credit(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    rollouts: Sequence[Rollout],
    config: CreditConfig | None = None,
    *,
    spans: Sequence[Ranges] | None = None,
    answers: Sequence[tuple[int, int] | Span | None] | None = None,
    allowance: float | None = None,
) -> list[Credit]:
    """Give every span of every completion the credit it causally earned (arXiv 2602.09331, Section 3).

    Args:
        model: The policy, a causal language model. It is put into eval mode, and back afterwards.
        tokenizer: Its tokenizer; None if `spans` and `answers` are both given and the intervention is not `filler`.
        rollouts: What to score. A rollout that cannot be scored gets weight 1 and a named reason.
        config: How to score; `CreditConfig()` if None.
        spans: Own spans for each rollout: ranges of completion tokens, in order, disjoint, before the answer.
        answers: Own answer for each rollout, a range of completion tokens or None; else it is looked for in the text.
        allowance: Tokens that scoring may send through the model under `config.budget`. The trainers derive it from
            the time that their steps take; None: as if a step were four forwards of the rollouts.

    Returns:
        One `Credit` for each rollout, in the same order.

    Raises:
        RolloutError: if a rollout, span or answer cannot be what was meant (an id outside the vocabulary, an overlap).
        ModelError: if the model or tokenizer lacks what the configuration needs.
    """
    config = config or CreditConfig()
    facts = ModelFacts.of(model, tokenizer)
    check_own_ranges(rollouts, spans, answers, has_tokenizer=tokenizer is not None)
    measures = config.mode != "uniform"
    replacement = replacement_ids(config.intervention, config.filler, tokenizer, facts.pad_token_id) if measures else []
    check_replacement(config.intervention, replacement, facts)
    plans = []
    for i, rollout in enumerate(rollouts):
        check_rollout(i, rollout, facts)
        reason = _reason_to_skip(rollout, config, facts)
        own = FIND if spans is None else spans[i], FIND if answers is None else answers[i]
        plans.append(Plan(reason=reason) if reason else _plan(i, rollout, tokenizer, config, *own))
    scored = [(rollout, plan) for rollout, plan in zip(rollouts, plans, strict=True) if plan.target]
    with eval_mode(model):
        found = iter(_measure(model, scored, config, replacement, allowance))
    return [
        _credit(rollout, plan, next(found) if plan.target else None, config)
        for rollout, plan in zip(rollouts, plans, strict=True)
    ]


@dataclass(frozen=True)
class Plan:
    """What is measured of one rollout, or why nothing."""

    reason: str | None = None
    answer: Span | None = None
    spans: tuple[Span, ...] = ()
    target: Target | None = None


def _measure(
    model: Any,
    scored: Sequence[tuple[Rollout, Plan]],
    config: CreditConfig,
    replacement: Sequence[int],
    allowance: float | None,
) -> list[Budgeted]:
    if config.mode == "blame":
        return _measure_both(model, scored, config, replacement, allowance)
    targets = [plan.target for _, plan in scored if plan.target]
    if config.budget is None:
        method = config.scorer if config.scorer in PROXIES else method_name(config.horizon)
        return [Budgeted(one, method) for one in measure(model, targets, config, replacement, config.horizon)]
    if allowance is None:
        tokens = sum(len(rollout.prompt_ids) + len(rollout.completion_ids) for rollout, _ in scored)
        allowance = default_allowance(config.budget, tokens)
    lots = [permutation_seed(config.seed, [*one.prompt_ids, *one.completion_ids]) for one, _ in scored]
    return within_budget(model, targets, config, replacement, allowance, lots)


def _measure_both(
    model: Any,
    scored: Sequence[tuple[Rollout, Plan]],
    config: CreditConfig,
    replacement: Sequence[int],
    allowance: float | None,
) -> list[Budgeted]:
    """Drops tell what an answer was made of, surprisal where a completion of negative advantage went wrong."""

    def blames(one: tuple[Rollout, Plan]) -> bool:
        return (one[0].advantage or 0.0) < 0

    praise = replace(config, mode="counterfactual")
    blame = replace(praise, scorer="surprisal", horizon=None, budget=None, influence=False)
    drops = iter(_measure(model, [one for one in scored if not blames(one)], praise, replacement, allowance))
    surprisals = iter(_measure(model, [one for one in scored if blames(one)], blame, replacement, None))
    return [replace(next(surprisals), method=BLAME) if blames(one) else next(drops) for one in scored]


def _reason_to_skip(rollout: Rollout, config: CreditConfig, facts: ModelFacts) -> str | None:
    """The first reason of `types.REASONS` that needs neither text nor model."""
    size = len(rollout.prompt_ids) + len(rollout.completion_ids)
    reasons = {
        "uniform": config.mode == "uniform",
        "empty_completion": not len(rollout.completion_ids),
        "no_loss_token": rollout.loss_mask is not None and not any(rollout.loss_mask),
        "zero_advantage": rollout.advantage == 0,
        "all_padding": all(token == facts.pad_token_id for token in rollout.completion_ids),
        "over_model_limit": facts.max_positions is not None and size > facts.max_positions,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _plan(
    i: int,
    rollout: Rollout,
    tokenizer: PreTrainedTokenizerBase | None,
    config: CreditConfig,
    own_spans: Ranges | str,
    own_answer: tuple[int, int] | Span | str | None,
) -> Plan:
    found, answer = locate_reasoning(i, rollout, tokenizer, config, own_spans, own_answer)
    if answer is None or not found:
        return Plan(reason="no_span" if answer else "no_answer", answer=answer)
    offset = len(rollout.prompt_ids)
    ranges = tuple((offset + span.start, offset + span.end) for span in found)
    return Plan(answer=answer, spans=tuple(found), target=Target(clean_row(rollout, answer), ranges))


def _credit(rollout: Rollout, plan: Plan, bought: Budgeted | None, config: CreditConfig) -> Credit:
    size = len(rollout.completion_ids)
    if plan.answer is None or bought is None:
        return Credit(torch.ones(size), answer=plan.answer, reason=plan.reason)
    measured = bought.measured
    if measured is None:
        return Credit(torch.ones(size), answer=plan.answer, reason="over_budget")
    drops_K = measured.drops_K
    if not measured.is_finite:
        return Credit(torch.ones(size), answer=plan.answer, reason="non_finite", cost=measured.cost)

    own_scale = bought.method in (*PROXIES, BLAME)  # a proxy's score is no drop in nats: only its proportions count
    floor, full_scale = (0.0, sys.float_info.min) if own_scale else (config.noise_floor, config.full_scale)
    if config.mode == "mediated" and measured.influence_KK is not None:
        importances_K = importances(mediated(drops_K, measured.influence_KK, floor), 0.0, full_scale)
    else:
        importances_K = importances(drops_K, floor, full_scale)
    scores_K = arrange(importances_K, config.mode, permutation_seed(config.seed, rollout.completion_ids))
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
        bought.method,
        bought.agreement,
    )
