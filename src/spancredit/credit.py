"""The whole pipeline on one screen, entered by the policy itself or by an engine that holds it.

completion ids -> text -> spans -> counterfactuals -> answer log-probs -> drops -> token weights
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist
from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.balance import shared_out
from spancredit.counterfactual.engine import LogProbs, check_engine, measure_by_engine
from spancredit.counterfactual.forward import eval_mode
from spancredit.counterfactual.interventions import replacement_ids
from spancredit.counterfactual.jobs import Job, measure_jobs, price
from spancredit.counterfactual.measure import Measurement
from spancredit.counterfactual.packable import why_not
from spancredit.counterfactual.sharded import in_step
from spancredit.crediting import credit_of
from spancredit.plan import Answers, Plan, plan_rollouts
from spancredit.ranks import agreed
from spancredit.text.locate import Ranges
from spancredit.types import Credit, Rollout
from spancredit.validation import ModelFacts, check_replacement, config_of


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
            the time that their steps take; None: as if a step were four forwards of the rollouts. With a group, what
            each rank may take in the mean.
        group: Ranks that hold the same policy, whole or in shards, and score together: each calls with rollouts of its
            own (or none) and gets their credit; the work is shared out. Its backend can talk on the CPU (gloo). A
            rollout that is refused is refused on every rank; any other error on one has to end all of them.

    Returns:
        One `Credit` for each rollout, in the same order.

    Raises:
        RolloutError: if a rollout, span or answer cannot be what was meant (an id outside the vocabulary, an overlap).
        ModelError: if the model or tokenizer lacks what the configuration needs, or is sharded and there is no group.
    """
    config = config_of(config)
    facts = ModelFacts.of(model, tokenizer)
    replacement = _replacement(config, tokenizer, facts)
    rollouts, plans = agreed(lambda: plan_rollouts(rollouts, tokenizer, facts, config, spans, answers), group)

    def measure(jobs: Sequence[Job], share: float) -> list[Measurement]:
        own = None if allowance is None else share * allowance
        with eval_mode(model), in_step(model, group):
            return measure_jobs(model, jobs, config, replacement, own)

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
            same number of sequences, or none does. An error of `logprobs` on one has to end all of them.

    Raises:
        ConfigError: if the configuration needs more than log-probabilities: a horizon, a budget, the intervention
            `attention`, or another proxy.
        ModelError: if `logprobs` returns anything else than one log-probability a token, or there is no pad token.
        RolloutError: as `assign_credit`.
    """
    config = config_of(config)
    check_engine(config, logprobs)
    facts = ModelFacts.of(None, tokenizer)
    replacement = _replacement(config, tokenizer, facts)
    rollouts, plans = agreed(lambda: plan_rollouts(rollouts, tokenizer, facts, config, spans, answers), group)

    def measure(jobs: Sequence[Job], share: float) -> list[Measurement]:
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
    measure: Callable[[list[Job], float], list[Measurement]],
    packs: bool,
    group: dist.ProcessGroup | None,
) -> list[Credit]:
    jobs = [Job.of(rollout, plan.target, config) for rollout, plan in zip(rollouts, plans, strict=True) if plan.target]
    found: list[Measurement] = []
    if config.mode != "uniform":
        prices = [] if group is None else [price(job, config, packs) for job in jobs]
        found = shared_out(measure, jobs, prices, group)
    measured = iter(found)
    return [
        credit_of(rollout, plan, next(measured) if plan.target else None, config)
        for rollout, plan in zip(rollouts, plans, strict=True)
    ]
