"""From a trial to its facts: what was sampled and how it fared, what scoring says of it, and what that took."""

import math
from collections.abc import Sequence
from dataclasses import replace

from spancredit.counterfactual.measure import PROXIES
from spancredit.doctor.compare import compared, training_noise
from spancredit.doctor.costs import all_scored, alternatives
from spancredit.doctor.facts import Completion, Facts
from spancredit.doctor.rollouts import Job, Trial
from spancredit.doctor.setups import ends_of, limit, setup_of
from spancredit.doctor.texts import answer_text, cut_off, foreign, retokenised, why_missing
from spancredit.text.align import align
from spancredit.text.locate import locate_reasoning
from spancredit.types import Credit, Rollout


def observed(job: Job, trial: Trial) -> Facts:
    """Score all rollouts without regard to their advantages, hold the scorer to the definition, and put it together."""
    rollouts, config, model = trial.rollouts, job.trial.credit, trial.trainer.model
    exact = replace(config, budget=None)
    open_ones = [replace(rollout, advantage=None) for rollout in rollouts]
    own = [credit for batch in trial.batches for credit in batch.credits]
    by_tests = "credit_func" in job.functions
    credits, cost, memory = (own, trial.cost, None) if by_tests else all_scored(job, trial, open_ones, exact)
    comparison = None
    if not by_tests and config.mode != "uniform" and config.scorer not in ("sequential", *PROXIES):
        measured = [one for one, credit in zip(open_ones, credits, strict=True) if credit.answer_logp is not None]
        comparison = compared(trial.score, measured, replace(exact, mode="counterfactual"), trial.dtype)
    longest = max(rollouts, key=lambda one: len(one.completion_ids))
    return Facts(
        setup=setup_of(job, trial),
        completions=_completions(job, trial, credits),
        comparison=comparison,
        noise=training_noise(model, longest, config.temperature, job.trial.seed),
        statuses=trial.statuses,
        cost=replace(cost, alternatives=alternatives(trial, config)),
        memory=memory,
    )


def _completions(job: Job, trial: Trial, credits: Sequence[Credit]) -> list[Completion]:
    rewards = [reward for batch in trial.batches for reward in batch.rewards]
    trained = [credit for batch in trial.batches for credit in batch.credits]
    ends = ends_of(trial.trainer.model, job.tokenizer)
    rows = zip(trial.rollouts, rewards, trained, credits, strict=True)
    return [
        _completion(job, ends, i // job.trial.num_generations, rollout, reward, used.reason, credit)
        for i, (rollout, reward, used, credit) in enumerate(rows)
    ]


def _completion(
    job: Job, ends: set[int], group: int, rollout: Rollout, reward: float, reason: str | None, credit: Credit
) -> Completion:
    ids, tokenizer, config = list(rollout.completion_ids), job.tokenizer, job.trial.credit
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    truncated = cut_off(ids, limit(job), ends)
    _, answer = locate_reasoning(0, rollout, tokenizer, config)
    aligned = align(tokenizer, ids)
    weights = [span.weight for span in credit.spans] or [1.0]
    return Completion(
        group=group,
        text=text,
        tokens=len(ids),
        truncated=truncated,
        reward=reward,
        advantage=math.nan if rollout.advantage is None else rollout.advantage,
        judged=None if job.task.statuses else job.task.read(text) is not None,
        answer=answer_text(aligned, answer),
        missing=None if answer else why_missing(aligned.plain, truncated, config.answer_pattern),
        inside=foreign(aligned, answer) if answer else (),
        retokenised=retokenised(tokenizer, ids),
        reason=reason,
        alone=credit.reason,
        drops=[span.drop for span in credit.spans],
        weights=(min(weights), max(weights)),
    )
