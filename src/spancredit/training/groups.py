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


def has_signal(group: Group) -> bool:
    """Whether rewards differ, and the loss reads a token of a rollout that has an advantage."""
    differ = len({rollout.reward for rollout in group if not math.isnan(rollout.reward)}) > 1
    return differ and any(bool(one.row["advantages"] != 0) and loss_tokens(one.row) > 0 for one in group)


def by_signal(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Those that have a signal, and those that have none."""
    found = [(group, has_signal(group)) for group in groups]
    return [group for group, has in found if has], [group for group, has in found if not has]


def round_size(kept: int, drawn: int, wanted: int) -> int:
    """Groups to draw so that as many as are missing can be expected to carry a signal, at most a batch of them."""
    return min(wanted, math.ceil((wanted - kept) * drawn / max(1, kept)))
