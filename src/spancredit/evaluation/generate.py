"""Completions of a batch of prompts, as ids and as text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from spancredit.counterfactual.forward import eval_mode, inner
from spancredit.tasks.chat import render
from spancredit.tasks.prompts import Prompt

SAMPLING = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}  # the policy's own distribution
GREEDY = {"do_sample": False}


@contextmanager
def nothing_preset(model: PreTrainedModel) -> Iterator[None]:
    """Without what a checkpoint presets for generation, such as a repetition penalty, but for how a completion ends.

    Log-probabilities know nothing of it. TRL samples with what it does not set itself: the doctor says so.
    """
    models = {id(one): one for one in (model, inner(model))}.values()  # an adapter gives its own to its base
    presets = [one.generation_config for one in models]
    ends = {name: getattr(presets[0], name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ends)
    try:
        yield
    finally:
        for one, preset in zip(models, presets, strict=True):
            one.generation_config = preset


@dataclass(frozen=True)
class Completed:
    """A completion without special tokens, cut at the first stop text; whether it was ended by the limit on tokens."""

    text: str
    truncated: bool


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    stops: tuple[str, ...] = (),
    **decoding: Any,
) -> list[Completed]:
    """One completion a prompt, generated together. Every module's mode is left as it was.

    Args:
        prompts: Texts, or messages for the tokenizer's chat template; all of the same form.
        stops: Texts at the first of which a completion ends.
        decoding: For `generate`.
    """
    chat = not isinstance(prompts[0], str)
    texts = [render(tokenizer, one) for one in prompts]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not chat).to(
        model.device
    )
    rows = generated(model, tokenizer, inputs["input_ids"], inputs["attention_mask"], max_new_tokens, stops, **decoding)
    return list(_completed(model, tokenizer, rows, max_new_tokens, stops))


def generated(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    input_ids_BL: torch.Tensor,
    mask_BL: torch.Tensor,
    max_new_tokens: int,
    stops: tuple[str, ...] = (),
    **decoding: Any,
) -> list[list[int]]:
    """Ids of one completion a prompt, as `generate` gives them: padded, and with the stop text that ended them.

    Args:
        input_ids_BL, mask_BL: int64, the prompts, padded on the left, on the model's device; 1 where no pad stands.
        decoding: For `generate`.
    """
    with eval_mode(model), nothing_preset(model):
        output_BL = model.generate(
            input_ids=input_ids_BL,
            attention_mask=mask_BL,
            max_new_tokens=max_new_tokens,
            **({"stop_strings": list(stops), "tokenizer": tokenizer} if stops else {}),
            **{"pad_token_id": tokenizer.pad_token_id, **decoding},
        )
    completions_BT: torch.Tensor = output_BL[:, input_ids_BL.size(1) :]
    return completions_BT.tolist()


def _completed(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[list[int]], most: int, stops: tuple[str, ...]
) -> Iterator[Completed]:
    ends = ends_of(model, tokenizer)
    for ids in rows:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        kept = text[: first_of(stops, text)]
        yield Completed(kept, len(ids) == most and ends.isdisjoint(ids) and kept == text)


def ends_of(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids at which a completion ends, here and in TRL."""
    preset = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(preset if isinstance(preset, list) else [preset])}
    return {one for one in ends if one is not None}


def first_of(stops: tuple[str, ...], text: str) -> int:
    """Where the first of them begins, or the text's length."""
    return min([at for stop in stops if (at := text.find(stop)) >= 0], default=len(text))
