"""Completions to measure on, and the outcome value of their spans by resampling what follows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from fidelity_continue import continue_many
from roles import Stretch, read_solution

from spancredit.config import CreditConfig
from spancredit.counterfactual.interventions import Row, clean_row
from spancredit.tasks.wordproblems import Problem, final_answer, problems
from spancredit.text.locate import locate_reasoning
from spancredit.types import Rollout, Span

LONGEST = 200  # tokens of prompt and completion; few of the bundled policy need more


@dataclass(frozen=True)
class Sample:
    """One completion of the policy, where its spans and answer are, and what the truth about it is.

    Args:
        answer_text: What it answers, as the reward reads it.
        roles: For each span the role of most of its characters (`tasks.roles`), with `last_unit` for the unit that
            stands right before the marker.
    """

    problem: Problem
    difficulty: str
    rollout: Rollout
    spans: tuple[Span, ...]
    answer: Span
    answer_text: str
    roles: tuple[str, ...]

    @property
    def right(self) -> bool:
        return self.answer_text == str(self.problem.answer)

    @property
    def clean(self) -> Row:
        return clean_row(self.rollout, self.answer)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The spans as ranges of the clean row's `input_ids`."""
        offset = len(self.rollout.prompt_ids)
        return [(offset + span.start, offset + span.end) for span in self.spans]


def draw_samples(
    model: Any, tokenizer: Any, count: int, difficulties: Sequence[str], seed: int, least_spans: int = 3
) -> list[Sample]:
    """One completion for each of `count` held-out problems; those with an end, an answer and enough spans are kept."""
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for i, difficulty in enumerate(difficulties):
        share = count // len(difficulties) + (i < count % len(difficulties))
        drawn = list(islice(problems("held_out", seed, difficulty), share))
        prompts = [tokenizer(problem.prompt)["input_ids"] for problem in drawn]
        for problem, prompt, (ids,) in zip(
            drawn, prompts, continue_many(model, prompts, 1, LONGEST, generator), strict=True
        ):
            sample = _read(tokenizer, problem, difficulty, Rollout(prompt, ids))
            if ids and ids[-1] == model.config.eos_token_id and sample and len(sample.spans) >= least_spans:
                kept.append(sample)
    return kept


def _read(tokenizer: Any, problem: Problem, difficulty: str, rollout: Rollout) -> Sample | None:
    spans, answer = locate_reasoning(0, rollout, tokenizer, CreditConfig())
    text = tokenizer.decode(rollout.completion_ids, skip_special_tokens=True)
    said = final_answer(text)
    if answer is None or said is None or not spans:
        return None
    stretches = read_solution(text, problem)
    ends = np.cumsum([len(span.text) for span in spans])
    roles = [_role(stretches, int(end) - len(span.text), int(end)) for span, end in zip(spans, ends, strict=True)]
    if roles[-1] == "unit":
        roles[-1] = "last_unit"
    return Sample(problem, difficulty, rollout, tuple(spans), answer, said, tuple(roles))


def _role(stretches: Sequence[Stretch], start: int, end: int) -> str:
    """The role of most of these characters, and for a calculation whether it is the true step."""
    shared: dict[str, int] = defaultdict(int)
    for stretch in stretches:
        name = "wrong_calculation" if stretch.role == "calculation" and not stretch.right else stretch.role
        shared[name] += max(0, min(end, stretch.end) - max(start, stretch.start))
    return max(shared, key=lambda name: shared[name])


def outcomes(
    model: Any, tokenizer: Any, samples: Sequence[Sample], continuations: int, generator: torch.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each sample two tables, boundaries x continuations: was the answer right; was it the one it had sampled.

    Boundary 0 is the prompt alone, boundary k the text through the end of span k.
    """
    starts = [(sample, end) for sample in samples for end in (0, *(span.end for span in sample.spans))]
    prefixes = [(*sample.rollout.prompt_ids, *sample.rollout.completion_ids[:end]) for sample, end in starts]
    said = []
    for (sample, end), found in zip(
        starts, continue_many(model, prefixes, continuations, LONGEST, generator), strict=True
    ):
        begun = list(sample.rollout.completion_ids[:end])
        texts = tokenizer.batch_decode([begun + ids for ids in found], skip_special_tokens=True)
        said.append([final_answer(text) for text in texts])
    tables, rows = [], iter(said)
    for sample in samples:
        table = np.array([next(rows) for _ in range(len(sample.spans) + 1)], dtype=object)
        tables.append((table == str(sample.problem.answer), table == sample.answer_text))
    return tables


def span_values(table: np.ndarray, part: slice = slice(None)) -> np.ndarray:
    """V(through the end of a span) - V(up to its start), from some of the continuations."""
    return np.diff(table[:, part].mean(axis=1))
