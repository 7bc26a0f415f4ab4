"""Step advantages: what a completion gained from one calculation to the next (VinePPO, arXiv 2410.01679).

calculations of each completion -> the value of every state on its way -> changes of the value, (T,) for each

A state is a prompt and the calculations made so far. Its value is the mean advantage of the completions of the group
that pass through it, which costs nothing, or that of fresh continuations (`resample.py`). The changes along a
completion add up to what its advantage is above its group's.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import torch
from transformers import PreTrainedTokenizerBase

from spancredit.text.locate import TextSettings, locate_reasoning
from spancredit.types import Rollout

Path = Sequence[tuple[int, str]]  # the calculations of a completion: one past its last token, and what it says
State = tuple[object, ...]  # a prompt, and what was calculated so far


def path_of(index: int, rollout: Rollout, tokenizer: PreTrainedTokenizerBase, settings: TextSettings) -> Path:
    """The calculations of a completion, in order; none where it has no answer."""
    spans, _ = locate_reasoning(index, rollout, tokenizer, settings)
    return [(span.end, "".join(span.text.split()).rstrip(".,;:")) for span in spans if span.kind == "calculation"]


def step_advantages(advantage: float, path: Path, values: Sequence[float], size: int) -> torch.Tensor:
    """float32 `(T,)`: the change of the value over the step that a token belongs to.

    A step ends with a calculation; the last one ends with the completion, where the value is the advantage itself.

    Args:
        values: In advantages: of the prompt, and after each calculation of the path.
        size: Tokens of the completion.
    """
    row_T = torch.zeros(size)
    cuts = [0, *(end for end, _ in path), size]
    for (start, end), (before, after) in zip(pairwise(cuts), pairwise([*values, advantage]), strict=True):
        row_T[start:end] = after - before
    return row_T


def group_values(advantages_B: Sequence[float], paths_B: Sequence[Path], group: int) -> list[list[float]]:
    """For each completion the values of the states on its way, the prompt's first.

    Args:
        advantages_B, paths_B: Of the completions, those of a prompt next to each other.
        group: Completions of a prompt.
    """
    passing: dict[State, list[float]] = defaultdict(list)
    for b, (advantage, path) in enumerate(zip(advantages_B, paths_B, strict=True)):
        for state in states_of(b, path, group):
            passing[state].append(advantage)
    values = {state: sum(some) / len(some) for state, some in passing.items()}
    return [[values[state] for state in states_of(b, path, group)] for b, path in enumerate(paths_B)]


def states_of(b: int, path: Path, group: int) -> list[State]:
    """The states that completion `b` passes through: its prompt, and its first 1, 2, ... calculations."""
    said = tuple(text for _, text in path)
    return [(b // group, *said[:count]) for count in range(len(said) + 1)]


def shared(paths_B: Sequence[Path], group: int) -> float:
    """Share of the states after a calculation that another completion of the group passes through, too."""
    counts = Counter(state for b, path in enumerate(paths_B) for state in states_of(b, path, group)[1:])
    visits = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / visits if visits else 0.0
