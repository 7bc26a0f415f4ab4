"""Completions of a prompt that were drawn together: which groups carry a signal, and how many more are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spancredit.training.rows import Row, loss_tokens


@dataclass(frozen=True)
class Drawn:
    """A rollout, the dataset's row that it answers, its entries in TRL's log of completions, and its reward: the
    weighted sum, and that of the first function; NaN if none applied."""

    row: Row
    asked: dict[str, Any]
    log: dict[tuple[str, str], Any]
    reward: float
    first_reward: float


Group = list[Drawn]


def even(rewards: Sequence[float], size: int) -> list[bool]:
    """For each of the rollouts of groups of this size, whether all that were rated in its group have one reward.

    What TRL leaves of such an advantage is what rounding left of the mean: 0.0006 at a reward of 0.7, of groups of 8.
    """
    groups = [rewards[i : i + size] for i in range(0, len(rewards), size)]
    return [len({reward for reward in group if not math.isnan(reward)}) < 2 for group in groups for _ in group]


def has_signal(group: Group) -> bool:
    """Whether the loss reads a token of a rollout that has an advantage."""
    return any(loss_tokens(one.row) > 0 for one in with_advantage(group))


def with_advantage(group: Group) -> list[Drawn]:
    """The rollouts that have one: none where rewards do not differ."""
    same = even([one.reward for one in group], len(group))[0]
    return [one for one in group if not same and bool(one.row["advantages"] != 0)]


def by_signal(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Those that have a signal, and those that have none."""
    found = [(group, has_signal(group)) for group in groups]
    return [group for group, has in found if has], [group for group, has in found if not has]


def round_size(kept: int, drawn: int, wanted: int) -> int:
    """Groups to draw so that as many as are missing can be expected to carry a signal, at most a batch of them."""
    return min(wanted, math.ceil((wanted - kept) * drawn / max(1, kept)))
