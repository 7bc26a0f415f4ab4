"""Some of many."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spaced(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, evenly spaced, from the first to the last."""
    if len(items) <= most or most < 2:
        return list(items[:most])
    return [items[i * (len(items) - 1) // (most - 1)] for i in range(most)]
