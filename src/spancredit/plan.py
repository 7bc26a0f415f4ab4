"""The plan of a rollout: what is measured of it, or why nothing. Text and spans, before any model is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.counterfactual.interventions import Row, clean_row
from spancredit.counterfactual.measure import Target
from spancredit.text.locate import FIND, Ranges, locate_all, locate_reasoning
from spancredit.types import Probe, Rollout, Span
from spancredit.validation import ModelFacts, check_own_ranges, checked

Answers = Sequence[tuple[int, int] | Span | None]


@dataclass(frozen=True)
class Plan:
    """What is measured of one rollout, or why nothing."""

    reason: str | None = None
    answer: Span | None = None
    spans: tuple[Span, ...] = ()
    target: Target | None = None


def plan_rollouts(
    rollouts: Sequence[Rollout],
    tokenizer: PreTrainedTokenizerBase | None,
    facts: ModelFacts,
    config: CreditConfig,
    spans: Sequence[Ranges] | None,
    answers: Answers | None,
) -> tuple[list[Rollout], list[Plan]]:
    """The rollouts with lists of Python's own numbers, and a plan for each.

    Raises:
        RolloutError: if a rollout, span or answer cannot be what was meant.
        ModelError: if there is neither a tokenizer nor both spans and answers.
    """
    plain = checked(rollouts, facts)
    probed = all(rollout.probe is not None for rollout in plain)
    check_own_ranges(plain, spans, answers, has_tokenizer=tokenizer is not None, has_probes=probed)
    plans = []
    for i, rollout in enumerate(plain):
        reason = reason_to_skip(rollout, config, facts)
        own = FIND if spans is None else spans[i], FIND if answers is None else answers[i]
        plans.append(Plan(reason=reason) if reason else _plan(i, rollout, tokenizer, config, *own))
    return plain, plans


def reason_to_skip(rollout: Rollout, config: CreditConfig, facts: ModelFacts) -> str | None:
    """The first reason of `types.REASONS` that needs neither text nor model."""
    size = len(rollout.prompt_ids) + len(rollout.completion_ids)
    if rollout.probe is not None:
        size += len(rollout.probe.suffix_ids) + len(rollout.probe.value_ids)
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
    if rollout.probe is not None:
        return _probed(i, rollout, rollout.probe, tokenizer, config, own_spans)
    found, answer = locate_reasoning(i, rollout, tokenizer, config, own_spans, own_answer)
    if answer is None or not found:
        return Plan(reason="no_span" if answer else "no_answer", answer=answer)
    return Plan(answer=answer, spans=tuple(found), target=_target(rollout, found, clean_row(rollout, answer)))


def _probed(
    i: int,
    rollout: Rollout,
    probe: Probe,
    tokenizer: PreTrainedTokenizerBase | None,
    config: CreditConfig,
    own_spans: Ranges | str,
) -> Plan:
    """The whole completion is reasoning, and the outcome is what is said to the probe."""
    found, size = locate_all(i, rollout, tokenizer, config, own_spans)
    if not found:
        return Plan(reason="no_span")
    before = (*rollout.prompt_ids, *rollout.completion_ids[:size], *probe.suffix_ids)
    row = Row((*before, *probe.value_ids), ((len(before), len(before) + len(probe.value_ids)),))
    return Plan(spans=tuple(found), target=_target(rollout, found, row))


def _target(rollout: Rollout, spans: Sequence[Span], clean: Row) -> Target:
    offset = len(rollout.prompt_ids)
    return Target(clean, tuple((offset + span.start, offset + span.end) for span in spans))
