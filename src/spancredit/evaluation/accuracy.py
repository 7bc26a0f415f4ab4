"""Accuracy of a policy on a list of problems, greedy and sampled."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from scipy.stats import binomtest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spancredit.evaluation.generate import GREEDY, SAMPLING, complete
from spancredit.randomness import seeded
from spancredit.tasks.prompts import Prompt


class Question(Protocol):
    """A prompt with the gold answer by which its completion is judged."""

    @property
    def prompt(self) -> Prompt: ...
    @property
    def answer(self) -> Any: ...


@dataclass(frozen=True)
class Exam:
    """What a policy is asked, and how it is judged: as in training, where nothing but its own end ends a completion.

    Args:
        reward: TRL's form; 1 for a right completion, else 0.
        max_new_tokens: Of a completion.
        batch_size: Questions that are answered at a time, by each rank.
    """

    questions: Sequence[Question]
    reward: Callable[..., list[float]]
    max_new_tokens: int
    batch_size: int = 250


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers with its 95 % Wilson interval."""

    right: int
    count: int

    @property
    def mean(self) -> float:
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        interval = binomtest(self.right, self.count).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.mean:.1%} (95 % interval {low:.1%} to {high:.1%}, {self.count} problems)"


def greedy_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, exam: Exam, group: dist.ProcessGroup | None = None
) -> Accuracy:
    """Answer every question greedily and count the right ones. Every module's mode is left as it was.

    Args:
        group: Ranks that share out the questions and can talk on the CPU. Each of them calls this, and gets the same.
    """
    return _accuracy(model, tokenizer, exam, GREEDY, group)


def sampled_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    exam: Exam,
    group: dist.ProcessGroup | None = None,
    seed: int = 0,
    **sampling: Any,
) -> Accuracy:
    """Sample one completion a question and count the right ones. Modes and random states are left as they were.

    Args:
        group: As for `greedy_accuracy`. Each rank draws from a seed of its own, so other ranks draw other completions.
        sampling: For `generate`, over the exam's `max_new_tokens`; by default the policy's own distribution.
    """
    with seeded(model.device, seed + (dist.get_rank(group) if group is not None else 0)):
        return _accuracy(model, tokenizer, exam, {**SAMPLING, **sampling}, group)


def _accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    exam: Exam,
    decoding: dict[str, Any],
    group: dist.ProcessGroup | None,
) -> Accuracy:
    right = 0
    for batch in own_batches(exam, group):
        asked = batch or exam.questions[:1]  # to keep company: sharded weights are gathered by all ranks together
        prompts = [question.prompt for question in asked]
        completed = complete(model, tokenizer, prompts, **{"max_new_tokens": exam.max_new_tokens, **decoding})
        if batch:
            answers = [str(question.answer) for question in batch]
            right += int(sum(exam.reward(completions=[one.text for one in completed], answer=answers)))
    return Accuracy(_sum(right, group), len(exam.questions))


def own_batches(exam: Exam, group: dist.ProcessGroup | None) -> list[Sequence[Question]]:
    """The questions of this rank, as many batches on every rank; a rank that has fewer gets empty ones."""
    ranks, rank = (dist.get_world_size(group), dist.get_rank(group)) if group is not None else (1, 0)
    count, size = len(exam.questions), exam.batch_size
    own = exam.questions[count * rank // ranks : count * (rank + 1) // ranks]
    batches = math.ceil(math.ceil(count / ranks) / size)
    return [own[i * size : (i + 1) * size] for i in range(batches)]


def _sum(count: int, group: dist.ProcessGroup | None) -> int:
    if group is None:
        return count
    total_1 = torch.tensor([count])
    dist.all_reduce(total_1, group=group)
    return int(total_1)
