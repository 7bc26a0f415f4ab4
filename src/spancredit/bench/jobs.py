"""Training jobs whose steps are timed: the embedded task, or random prompts with completions of a forced length."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spancredit.bench.models import Source
from spancredit.errors import ConfigError
from spancredit.tasks import wordproblems

TASK_COMPLETION = 72  # tokens that a solution of the embedded task may take
ANSWER = r"(\S+ \S+)\s*$"  # of a random text, its last two words
ANSWER_TOKENS = 2


@dataclass(frozen=True)
class Job:
    """What a trainer needs beside its settings.

    Args:
        settings: More fields of `CreditGRPOConfig`.
    """

    model: Any
    tokenizer: Any
    rows: list[dict[str, Any]]
    reward: Callable[..., list[float]]
    settings: dict[str, Any]

    @property
    def dataset(self) -> Any:
        return Dataset.from_list(self.rows)


def embedded_job(source: Source, count: int) -> Job:
    """The embedded task with `count` prompts."""
    model, tokenizer = source.load()
    rows = [problem.row() for problem in islice(wordproblems.problems("train", source.seed, "easy"), count)]
    return Job(model, tokenizer, rows, wordproblems.reward, {"max_completion_length": TASK_COMPLETION})


def random_job(source: Source, count: int, prompt: int, completion: int, spans: int) -> Job:
    """`count` prompts of random words, and completions of exactly this many, cut into this many spans.

    Every token is a word; the last two are the answer, and the reward is drawn at random.
    """
    reasoning = completion - ANSWER_TOKENS
    if not 1 <= spans <= reasoning:
        raise ConfigError(f"--spans is {spans}; expected from 1 to {reasoning} in {completion} tokens.")
    model, _ = source.load()
    draw = random.Random(source.seed)
    vocab = model.config.vocab_size
    rows = [{"prompt": " ".join(f"w{draw.randrange(2, vocab)}" for _ in range(prompt))} for _ in range(count)]

    def reward(completions: Sequence[str], **_: Any) -> list[float]:
        return [draw.random() for _ in completions]

    settings = {
        "max_completion_length": completion,
        "generation_kwargs": {"min_new_tokens": completion},
        "credit_segmenter": "window",
        "credit_window_tokens": -(-reasoning // spans),
        "credit_max_spans": spans,
        "credit_answer_pattern": ANSWER,
    }
    return Job(model, word_tokenizer(vocab), rows, reward, settings)


def word_tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    """One token a word: `w0` (the pad token), `w1` (the end of a sequence), `w2` and so on."""
    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocab)}, unk_token="w2"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="w0", eos_token="w1", padding_side="left")
