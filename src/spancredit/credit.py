"""The whole pipeline on one screen, entered by the policy itself or by an engine that holds it.

completion ids -> text -> spans -> counterfactuals -> answer log-probs -> drops -> token weights
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.balance import shared_out
from spancredit.counterfactual.budget import Budgeted
from spancredit.counterfactual.engine import LogProbs, check_engine, measure_by_engine
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import replacement_ids
from spancredit.counterfactual.jobs import Job, measure_jobs, price
from spancredit.counterfactual.measure import BLAME, PROXIES
from spancredit.counterfactual.packable import why_not
from spancredit.counterfactual.sharded import in_step
from spancredit.plan import Answers, Plan, plan_rollouts
from spancredit.text.locate import Ranges
from spancredit.types import Credit, Rollout, SpanCredit
from spancredit.validation import ModelFacts, check_replacement
from spancredit.weighting import arrange, importances, mediated, permutation_seed, token_weights


def assign_credit(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    rollouts: Sequence[Rollout],
    config: CreditConfig | None = None,
    *,
    spans: Sequence[Ranges] | None = None,
    answers: Answers | None = None,
    allowance: float | None = None,
    group: dist.ProcessGroup | None = None,
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
        group: Ranks that hold the same policy, whole or in shards, and score together: each calls with rollouts of its
            own (or none) and gets their credit; the work is shared out. Its backend can talk on the CPU (gloo).

    Returns:
        One `Credit` for each rollout, in the same order.

    Raises:
        RolloutError: if a rollout, span or answer cannot be what was meant (an id outside the vocabulary, an overlap).
        ModelError: if the model or tokenizer lacks what the configuration needs, or is sharded and there is no group.
    """
    config = config or CreditConfig()
    facts = ModelFacts.of(model, tokenizer)
    replacement = _replacement(config, tokenizer, facts)
    plans = plan_rollouts(rollouts, tokenizer, facts, config, spans, answers)

    def measure(jobs: Sequence[Job]) -> list[Budgeted]:
        with eval_mode(model), in_step(model, group):
            return measure_jobs(model, jobs, config, replacement, allowance)

    return _credits(rollouts, plans, config, measure, why_not(model) is None, group)


def weights_for(
    rollouts: Sequence[Rollout],
    logprobs: LogProbs,
    tokenizer: PreTrainedTokenizerBase | None = None,
    config: CreditConfig | None = None,
    *,
    spans: Sequence[Ranges] | None = None,
    answers: Answers | None = None,
    group: dist.ProcessGroup | None = None,
) -> list[Credit]:
    """The same for a policy that an engine holds: whatever can say how likely the tokens of a sequence are.

    Args:
        rollouts: What to score.
        logprobs: Given sequences of token ids, unpadded, it returns for each the log-probability in nats of each of its
            tokens after those before, under the policy in eval mode at the sampling temperature; what it says of a
            first token is not read. It is called at most once, with clean and counterfactual rows together.
        tokenizer: As for `assign_credit`, which the other arguments follow, too.
        config: How to score. `scorer` is `surprisal` or any that measures drops, which is all the same here.
        group: Ranks whose engines work together. The work is shared out, and all of them call `logprobs` with the
            same number of sequences, or none does.

    Raises:
        ConfigError: if the configuration needs more than log-probabilities: a horizon, a budget, the intervention
            `attention`, or another proxy.
        ModelError: if `logprobs` returns anything else than one log-probability a token, or there is no pad token.
        RolloutError: as `assign_credit`.
    """
    config = config or CreditConfig()
    check_engine(config)
    facts = ModelFacts.of(None, tokenizer)
    replacement = _replacement(config, tokenizer, facts)
    plans = plan_rollouts(rollouts, tokenizer, facts, config, spans, answers)

    def measure(jobs: Sequence[Job]) -> list[Budgeted]:
        return measure_by_engine(logprobs, jobs, config, replacement, group)

    return _credits(rollouts, plans, config, measure, False, group)


def _replacement(config: CreditConfig, tokenizer: PreTrainedTokenizerBase | None, facts: ModelFacts) -> list[int]:
    """The ids that stand in a span's place; none if nothing is measured."""
    if config.mode == "uniform":
        return []
    replacement = replacement_ids(config.intervention, config.filler, tokenizer, facts.pad_token_id)
    check_replacement(config.intervention, replacement, facts)
    return replacement


def _credits(
    rollouts: Sequence[Rollout],
    plans: Sequence[Plan],
    config: CreditConfig,
    measure: Callable[[list[Job]], list[Budgeted]],
    packs: bool,
    group: dist.ProcessGroup | None,
) -> list[Credit]:
    jobs = [Job.of(rollout, plan.target, config) for rollout, plan in zip(rollouts, plans, strict=True) if plan.target]
    found: list[Budgeted] = []
    if config.mode != "uniform":
        found = shared_out(measure, jobs, [price(job, config, packs) for job in jobs], group)
    measured = iter(found)
    return [
        _credit(rollout, plan, next(measured) if plan.target else None, config)
        for rollout, plan in zip(rollouts, plans, strict=True)
    ]


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
