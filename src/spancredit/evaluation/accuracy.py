"""Accuracy of a policy on a list of problems, greedy and sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scipy.stats import binomtest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spancredit.evaluation.generate import GREEDY, SAMPLING, complete
from spancredit.models import seeded
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
        batch_size: Questions that are answered at a time.
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


def greedy_accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, exam: Exam) -> Accuracy:
    """Answer every question greedily and count the right ones. Every module's mode is left as it was."""
    return _accuracy(model, tokenizer, exam, GREEDY)


def sampled_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, exam: Exam, seed: int = 0, **sampling: Any
) -> Accuracy:
    """Sample one completion a question and count the right ones. Modes and random states are left as they were.

    Args:
        sampling: For `generate`; by default the policy's own distribution.
    """
    with seeded(model.device, seed):
        return _accuracy(model, tokenizer, exam, {**SAMPLING, **sampling})


def _accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, exam: Exam, decoding: dict[str, Any]
) -> Accuracy:
    right = 0
    for start in range(0, len(exam.questions), exam.batch_size):
        batch = exam.questions[start : start + exam.batch_size]
        prompts = [question.prompt for question in batch]
        completed = complete(model, tokenizer, prompts, exam.max_new_tokens, **decoding)
        answers = [str(question.answer) for question in batch]
        right += int(sum(exam.reward(completions=[one.text for one in completed], answer=answers)))
    return Accuracy(right, len(exam.questions))
