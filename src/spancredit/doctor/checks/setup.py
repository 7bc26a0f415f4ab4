"""Model, tokenizer and sampling: what bends the numbers, or has them mean something else."""

from collections.abc import Sequence

from spancredit.doctor.facts import Completion, Setup
from spancredit.doctor.finding import Finding, counted, percent

NOISE = 1e-3  # nats by which training mode may move a token's log-probability


def dropout(setup: Setup, noise: float) -> Finding | None:
    """Training mode is not the policy that sampled: dropout, or another noise."""
    named = ", ".join(f"{name} {value:g}" for name, value in setup.dropouts.items())
    advice = (
        "Set it to 0 in the model's config.json, or by --model_init_kwargs '{\"attention_dropout\": 0.0}'; of an "
        "adapter, --lora_dropout 0."
    )
    if noise < NOISE:
        text = f"{named} is set. It moves nothing yet, as in an adapter that is new, and will once it has learnt."
        return Finding("note", "dropout", noise, text, advice) if named else None
    return Finding(
        "warning",
        "dropout",
        noise,
        f"Training mode moves the log-probability of a sampled token by up to {noise:.2g} nats "
        f"({named or 'no dropout is set, so something else in the model is random'}): the loss sees a noisy policy, "
        "while sampling and credit see the policy itself.",
        advice,
    )


def round_trip(setup: Setup, completions: Sequence[Completion]) -> Finding | None:
    """Sampled ids that their text is not tokenised to again."""
    odd = [one for one in completions if one.retokenised is not None]
    if not odd:
        return None
    share = len(odd) / len(completions)
    return Finding(
        "note",
        "round_trip",
        share,
        f"{counted(len(odd), 'completion')} ({percent(share)}) would be tokenised otherwise than they were sampled. "
        "That does no harm here, where the sampled ids are the truth.",
        "Do not compare with tools that read the text anew: their tokens, and log-probabilities, are others.",
        odd[0].retokenised,
    )


def pad_token(setup: Setup) -> Finding | None:
    """No pad token, or the end of a sequence for one: what the intervention `pad` puts in a span's place."""
    if setup.pad == "own":
        return None
    fills = setup.credit.intervention == "pad" and setup.credit.mode != "uniform"
    has = "has no pad token, so TRL takes" if setup.pad == "none" else "pads with"
    return Finding(
        "warning" if fills else "note",
        "pad_token",
        None,
        f"The tokenizer {has} the end of a sequence"
        + (", which the intervention pad puts in a span's place: a hole that says more than a pad." if fills else "."),
        "Set --credit_intervention attention, which hides the span instead."
        if fills
        else "Nothing: no span becomes it.",
    )


def chat_template(setup: Setup) -> Finding | None:
    """What looks like a chat model, and has no template to ask it by."""
    if setup.has_template or not setup.chat_signs:
        return None
    return Finding(
        "warning",
        "chat_template",
        None,
        f"The tokenizer has no chat template, and the model looks like one that chats ({', '.join(setup.chat_signs)}): "
        "prompts are plain text, which it was not trained on.",
        "Save the model with its chat template (chat_template.jinja beside tokenizer_config.json).",
    )


def sampling(setup: Setup) -> Finding | None:
    """Sampling that is not the policy's own distribution."""
    if not setup.bent:
        return None
    return Finding(
        "note",
        "sampling",
        None,
        f"Sampling is bent by {', '.join(setup.bent)}; log-probabilities are those of the policy without.",
        "Leave it away, unless it is wanted; what a model presets stands in its generation_config.json.",
    )


def engine(setup: Setup) -> Finding | None:
    """Training samples with vLLM; the trial did with transformers."""
    if not setup.other_engine:
        return None
    return Finding(
        "note",
        "engine",
        None,
        "Training will sample with vLLM, which was not tried here: the completions above come from transformers, and "
        "generation will take less of a step than was measured.",
        "Watch credit/time_share in the first steps.",
    )


def positions(setup: Setup) -> Finding | None:
    """Prompts and completions that can grow beyond the model's positions."""
    most = setup.longest_prompt + setup.max_completion_length
    if setup.max_positions is None or most <= setup.max_positions:
        return None
    return Finding(
        "warning",
        "positions",
        most,
        f"A prompt of {setup.longest_prompt} tokens and max_completion_length {setup.max_completion_length} come to "
        f"{most}, and the model has {setup.max_positions} positions; rollouts beyond it keep weight 1.",
        f"Set --max_completion_length to {max(1, setup.max_positions - setup.longest_prompt)} or less.",
    )
