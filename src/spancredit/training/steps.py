"""Step advantages: what a completion gained from one calculation to the next, as its own group tells.

advantages of a group, calculations of each completion -> values of the states that they share -> (T,) for each

Completions of a prompt that made the same calculations so far are in one state. Its value is the mean of their
advantages, and a step's tokens get the change of the value over it: VinePPO's advantage (arXiv 2410.01679) with the
group in the place of resampling, so it costs nothing. The changes along a completion add up to its advantage.
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


def step_advantages(
    advantages_B: Sequence[float], paths_B: Sequence[Path], sizes_B: Sequence[int], group: int
) -> list[torch.Tensor]:
    """float32 `(T,)` for each completion: the change of the value over the step that a token belongs to.

    A step ends with a calculation; the last one ends with the completion, where the value is the advantage itself.

    Args:
        advantages_B, paths_B, sizes_B: Of the completions, those of a prompt next to each other.
        group: Completions of a prompt.
    """
    rows = []
    values = state_values(advantages_B, paths_B, group)
    for b, (path, size) in enumerate(zip(paths_B, sizes_B, strict=True)):
        states = states_of(b, path, group)
        cuts = [0, *(end for end, _ in path), size]
        reached = [*(values[state] for state in states), advantages_B[b]]
        row_T = torch.zeros(size)
        for (start, end), (before, after) in zip(pairwise(cuts), pairwise(reached), strict=True):
            row_T[start:end] = after - before
        rows.append(row_T)
    return rows


def state_values(advantages_B: Sequence[float], paths_B: Sequence[Path], group: int) -> dict[State, float]:
    """The mean advantage of the completions that pass through a state."""
    passing: dict[State, list[float]] = defaultdict(list)
    for b, (advantage, path) in enumerate(zip(advantages_B, paths_B, strict=True)):
        for state in states_of(b, path, group):
            passing[state].append(advantage)
    return {state: sum(some) / len(some) for state, some in passing.items()}


def states_of(b: int, path: Path, group: int) -> list[State]:
    """The states that completion `b` passes through: its prompt, and its first 1, 2, ... calculations."""
    said = tuple(text for _, text in path)
    return [(b // group, *said[:count]) for count in range(len(said) + 1)]


def shared(paths_B: Sequence[Path], group: int) -> float:
    """Share of the states after a calculation that another completion of the group passes through, too."""
    counts = Counter(state for b, path in enumerate(paths_B) for state in states_of(b, path, group)[1:])
    visits = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / visits if visits else 0.0
