"""Checks on what the caller gives: one sentence each, naming the rollout, what came and what was expected."""

import math
import operator
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.errors import ModelError, RolloutError
from spancredit.types import Rollout


@dataclass(frozen=True)
class ModelFacts:
    """What a rollout is checked against. None where the model does not say."""

    vocab_size: int | None
    max_positions: int | None
    pad_token_id: int | None

    @classmethod
    def of(cls, model: Any, tokenizer: PreTrainedTokenizerBase | None) -> "ModelFacts":
        config: Any = getattr(model, "config", None)
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        pad = tokenizer.pad_token_id if tokenizer is not None else None
        return cls(
            vocab_size=getattr(config, "vocab_size", None),
            max_positions=getattr(config, "max_position_embeddings", None),
            pad_token_id=getattr(config, "pad_token_id", None) if pad is None else pad,
        )


def check_rollout(index: int, rollout: Rollout, facts: ModelFacts) -> None:
    """Raise a RolloutError if the rollout has no prompt, an id outside the vocabulary, or parts that do not fit."""
    if not len(rollout.prompt_ids):
        raise RolloutError(f"rollout {index} has an empty prompt; expected at least one token (a BOS token will do).")
    named = {"prompt_ids": rollout.prompt_ids, "completion_ids": rollout.completion_ids}
    if rollout.probe is not None:
        if not len(rollout.probe.value_ids):
            raise RolloutError(f"rollout {index} has a probe without a value; expected at least one token of it.")
        named |= {"probe's suffix_ids": rollout.probe.suffix_ids, "probe's value_ids": rollout.probe.value_ids}
    for name, ids in named.items():
        wrong = [i for i in _extremes(index, name, ids) if i < 0 or i >= (facts.vocab_size or math.inf)]
        if wrong:
            raise RolloutError(
                f"rollout {index} has id {wrong[0]} in its {name}; expected ids from 0 to "
                f"{facts.vocab_size - 1 if facts.vocab_size else 'the end of the vocabulary'}."
            )
    if rollout.advantage is not None and not math.isfinite(rollout.advantage):
        raise RolloutError(f"rollout {index} has advantage {rollout.advantage}; expected a finite number or None.")
    if rollout.loss_mask is not None and len(rollout.loss_mask) != len(rollout.completion_ids):
        raise RolloutError(
            f"rollout {index} has a loss_mask of {len(rollout.loss_mask)} entries; "
            f"expected one for each of its {len(rollout.completion_ids)} completion tokens."
        )


def _extremes(index: int, name: str, ids: Sequence[int]) -> tuple[int, int]:
    try:
        whole = [operator.index(one) for one in ids]
    except TypeError:
        got = f"{type(ids).__name__} {reprlib.repr(ids)}"
        raise RolloutError(f"rollout {index} has the {got} as its {name}; expected token ids, whole numbers.") from None
    return min(whole, default=0), max(whole, default=0)


def check_replacement(intervention: str, ids: Sequence[int], facts: ModelFacts) -> None:
    """Raise a ModelError if the tokens that stand in for a span are none that the model knows."""
    wrong = [i for i in ids if i < 0 or i >= (facts.vocab_size or math.inf)]
    if wrong:
        raise ModelError(
            f"intervention {intervention!r} puts id {wrong[0]} in a span's place; expected an id below the model's "
            f"vocab_size, {facts.vocab_size}: resize its embeddings, or set the pad token to one that it knows."
        )


def check_own_ranges(
    rollouts: Sequence[Rollout],
    spans: Sequence[Any] | None,
    answers: Sequence[Any] | None,
    has_tokenizer: bool,
    has_probes: bool,
) -> None:
    """Raise if own ranges are not one entry a rollout, or are missing where there is no tokenizer to find them."""
    for name, given in (("spans", spans), ("answers", answers)):
        if given is None and not has_tokenizer and not (has_probes and name == "answers"):
            raise ModelError(f"tokenizer is None and {name} is None; expected a tokenizer, or both spans and answers.")
        if given is not None and len(given) != len(rollouts):
            raise RolloutError(f"{name} has {len(given)} entries; expected one for each of {len(rollouts)} rollouts.")
