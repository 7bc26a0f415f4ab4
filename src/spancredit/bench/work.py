"""What is scored: completions of random tokens in a given shape, or GSM8K's own solutions."""

import random
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.bench.floor import Item, credit_need
from spancredit.bench.price import Need
from spancredit.config import CreditConfig
from spancredit.counterfactual.interventions import replacement_ids
from spancredit.errors import ConfigError, DataError, ModelError
from spancredit.tasks import gsm8k
from spancredit.tasks.task import GSM8K_PROMPT
from spancredit.text.locate import locate_reasoning
from spancredit.types import Rollout

MARKER, ANSWER = 2, 2  # tokens between random reasoning and its answer, and in the answer
SPANS, SIZES = 22 / 4, (91, 149)  # of a solution in the GSM8K work, and its tokens
LINES, NEAREST = 2000, 20  # of its file that are cut, and candidates of which every choice is tried


@dataclass(frozen=True)
class Work:
    """Rollouts to score.

    Args:
        items: Prompts and completions with their spans and answers.
        pad: Id of the pad token.
        tokenizer: Where credit finds spans and answers in the text; None where it is given them.
    """

    items: tuple[Item, ...]
    pad: int
    tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def rollouts(self) -> list[Rollout]:
        return [Rollout(item.prompt_ids, item.completion_ids) for item in self.items]

    def need(self, config: CreditConfig) -> Need:
        """The least that credit needs under these settings."""
        replacement = replacement_ids(config.intervention, config.filler, self.tokenizer, self.pad)
        return credit_need(self.items, config.intervention, replacement, config.horizon)

    @property
    def ranges(self) -> dict[str, Any]:
        """Own ranges for `assign_credit`, if it is to be given them."""
        if self.tokenizer is not None:
            return {}
        return {"spans": [item.spans for item in self.items], "answers": [item.answer for item in self.items]}

    def facts(self) -> dict[str, Any]:
        """What it is, for people and programs; sizes are tokens."""
        sizes = [len(item.completion_ids) for item in self.items]
        return {
            "rollouts": len(self.items),
            "prompts": len({item.prompt_ids for item in self.items}),
            "prompt_tokens": [len(item.prompt_ids) for item in self.items],
            "completion_tokens": sizes,
            "spans": [len(item.spans) for item in self.items],
        }


@dataclass(frozen=True)
class Sizes:
    """The shape of random work: tokens of a prompt and of a completion, spans of a completion, rollouts, and how many
    of them answer the same prompt."""

    prompt: int = 100
    completion: int = 128
    spans: int = 16
    rollouts: int = 4
    group: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"--{name} is {value}; expected at least 1.")
        if self.rollouts % self.group:
            raise ConfigError(f"--rollouts is {self.rollouts}; expected a multiple of --group, which is {self.group}.")
        if self.spans + MARKER + ANSWER > self.completion:
            most = self.completion - MARKER - ANSWER
            raise ConfigError(f"--spans is {self.spans}; expected at most {most} in {self.completion} tokens.")


def random_work(sizes: Sizes, vocab: int, pad: int, seed: int) -> Work:
    """Random tokens, never the pad token; spans tile the reasoning evenly, which a marker parts from the answer."""
    draw = random.Random(seed)
    known = [token for token in range(vocab) if token != pad]
    reasoning = sizes.completion - MARKER - ANSWER
    bounds = [reasoning * i // sizes.spans for i in range(sizes.spans + 1)]
    spans = tuple(pairwise(bounds))
    answer = (sizes.completion - ANSWER, sizes.completion)
    items = []
    for i in range(sizes.rollouts):
        if i % sizes.group == 0:
            prompt = tuple(draw.choices(known, k=sizes.prompt))
        items.append(Item(prompt, tuple(draw.choices(known, k=sizes.completion)), spans, answer))
    return Work(tuple(items), pad)


def gsm8k_work(path: Path, tokenizer: PreTrainedTokenizerBase | None, count: int = 4, group: int = 1) -> Work:
    """GSM8K's solutions of 91 to 149 tokens with 5.5 spans each (22 in four), or the nearest to that there are.

    In a group the first one's question stands before all, so that they are completions of one prompt.

    Raises:
        ModelError: if there is no tokenizer.
        DataError: if the file is missing, its lines are not GSM8K's, or it has too few.
    """
    if tokenizer is None:
        raise ModelError("--work gsm8k needs a tokenizer, which a random shape has not; expected --model.")
    if not path.is_file():
        raise DataError(f"--work names {str(path)!r}; expected a file of JSON lines.")
    items = [_gsm8k_item(problem, tokenizer) for problem in gsm8k.read_jsonl(path)[:LINES]]
    found = [item for item in items if item is not None]
    if len(found) < count:
        raise DataError(f"{path} has {len(found)} solutions that can be scored; expected at least {count}.")
    found.sort(key=_strangeness)
    nearest = found[: max(NEAREST, count)]
    chosen = min(combinations(nearest, count), key=lambda some: abs(sum(len(i.spans) for i in some) - SPANS * count))
    grouped = [replace(item, prompt_ids=chosen[i - i % group].prompt_ids) for i, item in enumerate(chosen)]
    return Work(tuple(grouped), tokenizer.pad_token_id, tokenizer)


def _gsm8k_item(problem: gsm8k.Problem, tokenizer: PreTrainedTokenizerBase) -> Item | None:
    prompt = tuple(tokenizer(GSM8K_PROMPT.format(question=problem.question))["input_ids"])
    completion = tuple(tokenizer(problem.solution, add_special_tokens=False)["input_ids"])
    spans, answer = locate_reasoning(0, Rollout(prompt, completion), tokenizer, CreditConfig())
    if answer is None or not spans:
        return None
    return Item(prompt, completion, tuple((span.start, span.end) for span in spans), (answer.start, answer.end))


def _strangeness(item: Item) -> tuple[int, float]:
    """How far a solution is from the wanted length (tokens), then from the wanted number of spans."""
    size, (least, most) = len(item.completion_ids), SIZES
    return max(least - size, size - most, 0), abs(len(item.spans) - SPANS)


def vocabulary_of(model: Any) -> tuple[int, int]:
    """Size of a model's vocabulary and its pad id, which is set to 0 where the model has none."""
    config = model.config.get_text_config()
    if model.config.pad_token_id is None:
        model.config.pad_token_id = config.pad_token_id = 0
    return config.vocab_size, model.config.pad_token_id
