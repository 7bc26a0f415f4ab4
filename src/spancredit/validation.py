"""Checks on what the caller gives: one sentence each, naming the rollout, what came and what was expected."""

import math
import operator
import reprlib
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.config import CreditConfig
from spancredit.errors import ConfigError, ModelError, RolloutError
from spancredit.types import Probe, Rollout

NO_NUMBER = (TypeError, ValueError, RuntimeError)  # of float(): of other values, of arrays and of tensors of several


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


def config_of(config: CreditConfig | None) -> CreditConfig:
    """The defaults for None; raise a ConfigError if it is anything else than a configuration."""
    if config is not None and not isinstance(config, CreditConfig):
        raise ConfigError(f"config is a {type(config).__name__}; expected a CreditConfig or None.")
    return config or CreditConfig()


def checked(rollouts: Sequence[Rollout], facts: ModelFacts) -> list[Rollout]:
    """The rollouts with lists of Python's own numbers, whatever sequences they came in: arrays and tensors serve.

    Raises:
        RolloutError: if one has no prompt, an id outside the vocabulary, or parts that do not fit or are no numbers.
    """
    if isinstance(rollouts, (Rollout, str, bytes)) or not isinstance(rollouts, Iterable):
        raise RolloutError(f"rollouts is a {type(rollouts).__name__}; expected a list of Rollout.")
    return [_checked(i, rollout, facts) for i, rollout in enumerate(rollouts)]


def _checked(index: int, rollout: Rollout, facts: ModelFacts) -> Rollout:
    if not isinstance(rollout, Rollout):
        raise RolloutError(f"rollout {index} is a {type(rollout).__name__}; expected a Rollout.")
    prompt_ids = _ids(index, "prompt_ids", rollout.prompt_ids, facts)
    if not prompt_ids:
        raise RolloutError(f"rollout {index} has an empty prompt; expected at least one token (a BOS token will do).")
    completion_ids = _ids(index, "completion_ids", rollout.completion_ids, facts)
    advantage = _advantage(index, rollout.advantage)
    loss_mask = _loss_mask(index, rollout.loss_mask, len(completion_ids))
    return Rollout(prompt_ids, completion_ids, advantage, loss_mask, _probe(index, rollout.probe, facts))


def _advantage(index: int, advantage: Any) -> float | None:
    if advantage is None:
        return None
    try:
        number = _number(advantage)
    except NO_NUMBER:
        number = math.nan
    if not math.isfinite(number):
        raise RolloutError(f"rollout {index} has advantage {short(advantage)}; expected a finite number or None.")
    return number


def _loss_mask(index: int, loss_mask: Any, size: int) -> list[int] | None:
    if loss_mask is None:
        return None
    counted = numbers_of(index, loss_mask, "loss_mask", "1 or 0 for each completion token")
    if len(counted) != size:
        raise RolloutError(
            f"rollout {index} has a loss_mask of {len(counted)} entries; "
            f"expected one for each of its {size} completion tokens."
        )
    return [int(one != 0) for one in counted]


def _probe(index: int, probe: Probe | None, facts: ModelFacts) -> Probe | None:
    if probe is None:
        return None
    if not isinstance(probe, Probe):
        raise RolloutError(f"rollout {index} has a {type(probe).__name__} as its probe; expected a Probe or None.")
    value_ids = _ids(index, "probe's value_ids", probe.value_ids, facts)
    if not value_ids:
        raise RolloutError(f"rollout {index} has a probe without a value; expected at least one token of it.")
    return Probe(_ids(index, "probe's suffix_ids", probe.suffix_ids, facts), value_ids)


def _ids(index: int, name: str, ids: Any, facts: ModelFacts) -> list[int]:
    try:
        whole = [operator.index(one) for one in plain(ids)]
    except TypeError:
        raise RolloutError(
            f"rollout {index} has {told(ids)} as its {name}; expected token ids, whole numbers."
        ) from None
    wrong = next((i for i in whole if i < 0 or i >= (facts.vocab_size or math.inf)), None)
    if wrong is not None:
        raise RolloutError(
            f"rollout {index} has id {wrong} in its {name}; expected ids from 0 to "
            f"{facts.vocab_size - 1 if facts.vocab_size else 'the end of the vocabulary'}."
        )
    return whole


def numbers_of(index: int, values: Any, name: str, expected: str) -> list[float]:
    """A sequence, array or tensor of numbers as Python's own.

    Raises:
        RolloutError: if it is none, or one of its values is no number.
    """
    try:
        return [_number(one) for one in plain(values)]
    except NO_NUMBER:
        raise RolloutError(f"rollout {index} has {told(values)} as its {name}; expected {expected}.") from None


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes)):  # float() would read them
        raise TypeError
    return float(value)


def plain(values: Any) -> list[Any]:
    """A sequence as a list; of an array or a tensor with Python's own numbers in it."""
    return list(values.tolist() if hasattr(values, "tolist") else values)


def told(value: Any) -> str:
    """What came: its type, and how it begins."""
    return f"the {type(value).__name__} {short(value)}"


def short(value: Any) -> str:
    """How it begins, in a line."""
    return " ".join(reprlib.repr(value).split())


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
        if given is not None:
            check_one_each(name, given, rollouts)


def check_one_each(name: str, given: Any, rollouts: Sequence[Rollout]) -> None:
    """Raise a RolloutError if there are more or fewer of something than rollouts."""
    if not isinstance(given, Sized) or isinstance(given, (str, bytes)):
        raise RolloutError(f"{name} is {told(given)}; expected a list, one entry for each of {len(rollouts)} rollouts.")
    if len(given) != len(rollouts):
        raise RolloutError(f"{name} has {len(given)} entries; expected one for each of {len(rollouts)} rollouts.")
