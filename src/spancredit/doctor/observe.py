"""From a trial to its facts: what was sampled and how it fared, what scoring says of it, and what that took."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.bench.timing import Peak, free_bytes
from spancredit.counterfactual.measure import PROXIES
from spancredit.counterfactual.packable import why_not
from spancredit.doctor.alternatives import alternatives
from spancredit.doctor.compare import compared, dropouts_of, training_noise
from spancredit.doctor.facts import Completion, Facts, Memory, Setup
from spancredit.doctor.rollouts import Job, Trial
from spancredit.doctor.texts import answer_text, foreign, retokenised, why_missing
from spancredit.text.align import align
from spancredit.text.locate import locate_reasoning
from spancredit.types import Credit, Rollout

SHOWN = 40  # characters of a prompt
NEUTRAL = {"top_p": (1.0, None), "top_k": (0, -1, None), "min_p": (0.0, None), "repetition_penalty": (1.0, None)}
CHAT_NAME = re.compile(r"instruct|chat|(?<![a-z])it(?![a-z])", re.IGNORECASE)
TURN = re.compile(r"<\|?(?:im_start|start_of_turn|turn|start_header_id|user|assistant|end_of_turn)\|?>|\[INST\]")


def observed(job: Job, trial: Trial) -> Facts:
    """Score all rollouts without regard to their advantages, hold the scorer to the definition, and put it together."""
    rollouts, config = trial.rollouts, job.trial.credit
    exact = replace(config, budget=None)
    open_ones = [replace(rollout, advantage=None) for rollout in rollouts]
    peak = Peak(trial.trainer.accelerator.device.type)
    started = time.perf_counter()
    credits = trial.score(open_ones, exact)
    seconds, tokens = time.perf_counter() - started, sum(one.cost.tokens for one in credits)
    if trial.cost.tokens:
        seconds = tokens * trial.cost.credit / trial.cost.tokens
    full = 0.0 if config.budget else seconds * trial.cost.completions / len(rollouts)
    memory = Memory(
        credit=peak.bytes(),
        training=trial.training_peak,
        free=free_bytes(trial.trainer.accelerator.device.type),
        tokens=tokens,
        forwards=sum(one.cost.forwards for one in credits),
        micro_batch=(job.trial.per_device_train_batch_size, job.asked.per_device_train_batch_size),
    )
    model, comparison = trial.trainer.model, None
    if config.mode != "uniform" and config.scorer not in ("sequential", *PROXIES):
        measured = [one for one, credit in zip(open_ones, credits, strict=True) if credit.answer_logp is not None]
        comparison = compared(trial.score, measured, replace(exact, mode="counterfactual"), trial.dtype)
    longest = max(rollouts, key=lambda one: len(one.completion_ids))
    return Facts(
        setup=setup_of(job, trial),
        completions=_completions(job, trial, credits),
        comparison=comparison,
        noise=training_noise(model, longest, config.temperature, job.trial.seed),
        statuses=trial.statuses,
        cost=replace(
            trial.cost,
            full=0.0 if config.budget else seconds * trial.cost.completions / len(rollouts),
            alternatives=alternatives(trial, config),
        ),
        memory=memory,
    )


def setup_of(job: Job, trial: Trial) -> Setup:
    tokenizer, asked, config = job.tokenizer, job.asked, trial.trainer.model.config.get_text_config()
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    known = [name for name in tokenizer.get_vocab() if TURN.fullmatch(name)]
    return Setup(
        model=job.name,
        task=job.task_name,
        credit=job.trial.credit,
        max_completion_length=limit(job),
        dynamic_sampling_rounds=asked.dynamic_sampling_rounds,
        bent=[f"{name}={getattr(asked, name)}" for name, none in NEUTRAL.items() if getattr(asked, name) not in none],
        dropouts=dropouts_of(trial.trainer.model),
        pad="none" if not job.had_pad else "end" if pad == end else "own",
        ends=[str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(ends_of(trial.trainer.model, tokenizer))],
        has_template=tokenizer.chat_template is not None,
        chat_signs=[*CHAT_NAME.findall(job.name), *sorted(known)[:2]],
        max_positions=getattr(config, "max_position_embeddings", None),
        prompt_end=str(tokenizer.decode(list(trial.rollouts[0].prompt_ids)))[-SHOWN:],
        longest_prompt=max(len(rollout.prompt_ids) for rollout in trial.rollouts),
        unpackable=why_not(trial.trainer.model),
        other_engine=asked.use_vllm,
    )


def limit(job: Job) -> int:
    return int(job.asked.max_completion_length or 512)


def ends_of(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids at which TRL has a completion end."""
    preset = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(preset if isinstance(preset, list) else [preset])}
    return {one for one in ends if one is not None}


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
    truncated = len(ids) >= limit(job) and ids[-1] not in ends
    _, answer = locate_reasoning(0, rollout, tokenizer, config)
    aligned = align(tokenizer, ids)
    weights_T = credit.token_weights if len(ids) else None
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
        weights=(1.0, 1.0) if weights_T is None else (float(weights_T.min()), float(weights_T.max())),
    )
