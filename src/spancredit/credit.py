"""The whole pipeline on one screen, entered by the policy itself or by an engine that holds it.

completion ids -> text -> spans -> counterfactuals -> answer log-probs -> drops -> token weights
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.balance import shared_out
from spancredit.counterfactual.budget import Budgeted
from spancredit.counterfactual.engine import LogProbs, check_engine, measure_by_engine
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import replacement_ids
from spancredit.counterfactual.jobs import Job, measure_jobs, price
from spancredit.counterfactual.measure import Measured
from spancredit.counterfactual.packable import why_not
from spancredit.counterfactual.sharded import in_step
from spancredit.crediting import EXECUTION, credit_of
from spancredit.errors import ConfigError, RolloutError
from spancredit.plan import Answers, Plan, plan_rollouts
from spancredit.text.locate import Ranges, given_spans
from spancredit.types import Cost, Credit, Rollout
from spancredit.validation import ModelFacts, check_replacement, check_rollout


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


def credit_from_drops(
    rollouts: Sequence[Rollout],
    spans: Sequence[Ranges],
    drops: Sequence[Sequence[float] | None],
    config: CreditConfig | None = None,
) -> list[Credit]:
    """Credit for drops that were measured by other means than log-probabilities, such as running a program's tests.

    Importance is the drop over the largest of the completion, above 0. Where the advantage is negative it is that of
    `-drop`: the blame goes to what keeps the outcome from being better. There is no answer, so none is weighed.

    Args:
        spans: For each rollout ranges of completion tokens, in order, disjoint.
        drops: For each rollout a number for each of its spans, in any unit: what the outcome falls by without it. None:
            nothing could be run.
        config: How drops become weights; what it says of measuring is not read.

    Raises:
        RolloutError: if drops are not one a span.
        ConfigError: if the mode is `mediated`, which needs the influence of spans on each other.
    """
    config = config or CreditConfig()
    if config.mode == "mediated":
        raise ConfigError("mode 'mediated' needs the influence of spans on each other; drops alone say nothing of it.")
    credits = []
    for i, (rollout, own, measured) in enumerate(zip(rollouts, spans, drops, strict=True)):
        check_rollout(i, rollout, ModelFacts(None, None, None))
        found = given_spans(i, own, len(rollout.completion_ids))
        if measured is not None and len(measured) != len(found):
            raise RolloutError(
                f"rollout {i} has {len(measured)} drops; expected one for each of its {len(found)} spans."
            )
        reasons = {
            "uniform": config.mode == "uniform",
            "zero_advantage": rollout.advantage == 0,
            "no_program": measured is None,
            "no_span": not found,
        }
        reason = next((name for name, holds in reasons.items() if holds), None)
        bought = None if reason else Budgeted(Measured(None, tuple(measured or ()), Cost()), EXECUTION)
        credits.append(credit_of(rollout, Plan(reason=reason, spans=tuple(found)), bought, config))
    return credits


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
        credit_of(rollout, plan, next(measured) if plan.target else None, config)
        for rollout, plan in zip(rollouts, plans, strict=True)
    ]
