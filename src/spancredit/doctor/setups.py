"""What was asked for, and what model and tokenizer bring along."""

import re
from pathlib import Path

from transformers import GenerationConfig

from spancredit.counterfactual.packable import why_not
from spancredit.doctor.compare import dropouts_of
from spancredit.doctor.facts import Setup
from spancredit.doctor.rollouts import Job, Trial
from spancredit.evaluation.generate import ends_of
from spancredit.training.config import CreditGRPOConfig

SHOWN = 40  # characters of a prompt
NEUTRAL = {"top_p": (1.0, None), "top_k": (0, -1, None), "min_p": (0.0, None), "repetition_penalty": (1.0, None)}
# What else of a model's generation_config.json changes what is sampled.
BENDING = (
    *("top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty"),
    *("no_repeat_ngram_size", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size", "bad_words_ids"),
    *("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "sequence_bias"),
    *("exponential_decay_length_penalty", "guidance_scale", "min_length", "min_new_tokens", "num_beams"),
)
NOT_SAMPLING = ("max_new_tokens", "use_cache", "cache_implementation")  # of generation_kwargs
CHAT_NAME = re.compile(r"instruct|chat|(?<![a-z])it(?![a-z])", re.IGNORECASE)
TURN = re.compile(r"<\|?(?:im_start|start_of_turn|turn|start_header_id|user|assistant|end_of_turn)\|?>|\[INST\]")


def setup_of(job: Job, trial: Trial) -> Setup:
    tokenizer, asked, config = job.tokenizer, job.asked, trial.trainer.model.config.get_text_config()
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    known = [name for name in tokenizer.get_vocab() if TURN.fullmatch(name)]
    return Setup(
        model=job.name,
        task=job.task_name,
        credit=job.trial.credit,
        outcome=job.outcome,
        max_completion_length=limit(job),
        dynamic_sampling_rounds=asked.dynamic_sampling_rounds,
        bent=bent(asked, trial.trainer.model.generation_config),
        dropouts=dropouts_of(trial.trainer.model),
        pad="none" if not job.had_pad else "end" if pad == end else "own",
        ends=[str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(ends_of(trial.trainer.model, tokenizer))],
        has_template=tokenizer.chat_template is not None,
        chat_signs=[*CHAT_NAME.findall(Path(job.name).name), *sorted(known)[:2]],
        max_positions=getattr(config, "max_position_embeddings", None),
        prompt_end=str(tokenizer.decode(list(trial.rollouts[0].prompt_ids)))[-SHOWN:],
        longest_prompt=max(len(rollout.prompt_ids) for rollout in trial.rollouts),
        unpackable=why_not(trial.trainer.model),
        other_engine=asked.use_vllm,
    )


def bent(asked: CreditGRPOConfig, preset: GenerationConfig) -> list[str]:
    """Settings by which tokens are not drawn from the distribution that is scored; generation_kwargs come last.

    Args:
        preset: What the model brings along: of it holds, without vLLM, what TRL leaves open.
    """
    brought = {} if asked.use_vllm else preset.to_diff_dict()
    left = {name: brought[name] for name in BENDING if name in brought}
    own = asked.generation_kwargs or {}
    given = left | {name: getattr(asked, name) for name in NEUTRAL if getattr(asked, name) is not None} | own
    neutral = {**NEUTRAL, "temperature": (asked.temperature,), "do_sample": (True,)}
    return [
        f"{name}={value}"
        for name, value in given.items()
        if name not in NOT_SAMPLING and value not in neutral.get(name, ())
    ]


def limit(job: Job) -> int:
    return int(job.asked.max_completion_length or 512)
