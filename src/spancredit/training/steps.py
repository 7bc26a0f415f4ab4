"""Step advantages: what a completion gained from one calculation to the next.

calculations of each completion -> the value of every state on its way -> changes of the value, (T,) for each

A state is a prompt and the calculations made so far. Its value is the mean advantage of the completions of the group
that pass through it, which costs nothing, or that of fresh continuations (`resample.py`; VinePPO, arXiv 2410.01679).
The changes along a completion add up to its advantage. The group's values include the completion's own: what nobody
else calculated is worth what came of it, so the step to it takes everything and what follows nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import torch
from transformers import PreTrainedTokenizerBase

from spancredit.text.align import align
from spancredit.text.calculations import find_calculations
from spancredit.types import Rollout

Steps = Sequence[tuple[int, str]]  # the calculations of a completion: one past its last token, and what it says
State = tuple[object, ...]  # a prompt, and what was calculated so far


def steps_of(rollout: Rollout, tokenizer: PreTrainedTokenizerBase) -> Steps:
    """The calculations of a completion, in order, whether it has an answer or not."""
    if not len(rollout.completion_ids):
        return []
    aligned = align(tokenizer, rollout.completion_ids)
    ends: dict[int, str] = {}
    for start, end in find_calculations(aligned.plain, 0, len(aligned.plain)):
        ends.setdefault(aligned.tokens_of(start, end)[1], "".join(aligned.plain[start:end].split()).rstrip(".,;:"))
    return sorted(ends.items())


def step_advantages(advantage: float, steps: Steps, values: Sequence[float], size: int) -> torch.Tensor:
    """float32 `(T,)`: the change of the value over the step that a token belongs to; 0 where the advantage is 0.

    A step ends with a calculation; the last one ends with the completion, where the value is the advantage itself,
    also if a calculation ends there.

    Args:
        values: In advantages: of the prompt, and after each calculation.
        size: Tokens of the completion.
    """
    row_T = torch.zeros(size)
    if not advantage:
        return row_T
    inner = [(end, value) for (end, _), value in zip(steps, values[1:], strict=True) if end < size]
    known = [(0, values[0]), *inner, (size, advantage)]
    for (start, before), (end, after) in pairwise(known):
        row_T[start:end] = after - before
    return row_T


def group_values(
    advantages_B: Sequence[float], steps_B: Sequence[Steps], counts_B: Sequence[bool], group: int
) -> list[list[float]]:
    """For each completion the values of the states on its way, the prompt's first.

    Args:
        advantages_B, steps_B: Of the completions, those of a prompt next to each other.
        counts_B: Whether a completion counts for the values: it does not if no reward function rated it.
        group: Completions of a prompt.
    """
    passing: dict[State, list[float]] = defaultdict(list)
    for b, (advantage, steps, counts) in enumerate(zip(advantages_B, steps_B, counts_B, strict=True)):
        for state in states_of(b, steps, group) if counts else ():
            passing[state].append(advantage)
    values = {state: sum(some) / len(some) for state, some in passing.items()}
    return [[values.get(state, 0.0) for state in states_of(b, steps, group)] for b, steps in enumerate(steps_B)]


def states_of(b: int, steps: Steps, group: int) -> list[State]:
    """The states that completion `b` passes through: its prompt, and its first 1, 2, ... calculations."""
    said = tuple(text for _, text in steps)
    return [(b // group, *said[:count]) for count in range(len(said) + 1)]


def shared(steps_B: Sequence[Steps], group: int) -> float:
    """Share of the states after a calculation that another completion of the group passes through, too."""
    counts = Counter(state for b, steps in enumerate(steps_B) for state in states_of(b, steps, group)[1:])
    visits = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / visits if visits else 0.0
