"""Accuracy of a policy on a list of problems, greedy and sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spancredit.counterfactual.forward import eval_mode
from spancredit.models import seeded
from spancredit.tasks.wordproblems import Problem, reward


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
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    max_new_tokens: int = 160,
    batch_size: int = 250,
) -> Accuracy:
    """Decode every problem greedily and count exact matches. Every module's mode is left as it was."""
    right = _count_right(model, tokenizer, problems, max_new_tokens, batch_size, do_sample=False)
    return Accuracy(right, len(problems))


def sampled_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    max_new_tokens: int = 160,
    batch_size: int = 250,
    seed: int = 0,
    **sampling: Any,
) -> Accuracy:
    """Sample one completion a problem and count exact matches. Modes and random states are left as they were.

    Args:
        sampling: For `generate`; by default the policy's own distribution.
    """
    how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, **sampling}
    with seeded(model.device, seed):
        return Accuracy(_count_right(model, tokenizer, problems, max_new_tokens, batch_size, **how), len(problems))


def _count_right(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    max_new_tokens: int,
    batch_size: int,
    **decoding: Any,
) -> int:
    right = 0
    for start in range(0, len(problems), batch_size):
        batch = problems[start : start + batch_size]
        prompts = tokenizer([p.prompt for p in batch], return_tensors="pt", padding=True, padding_side="left")
        prompts = prompts.to(model.device)
        with eval_mode(model):
            output_BL = model.generate(
                input_ids=prompts["input_ids"],
                attention_mask=prompts["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **decoding,
            )
        completions = tokenizer.batch_decode(output_BL[:, prompts["input_ids"].size(1) :], skip_special_tokens=True)
        right += int(sum(reward(completions, [str(p.answer) for p in batch])))
    return right
