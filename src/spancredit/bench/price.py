"""What a computation must cost, in multiply-adds: a pure count, the same on every machine.

A token costs the trunk's parameters without its embeddings, and attention: in each layer, for each key that it sees,
a score and a weighted value, each as wide as all heads together. A row of logits costs the output head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Prices:
    """Multiply-adds of a model.

    Args:
        token: For a token, without attention: parameters of the trunk that are no embedding.
        key: For one key that a token sees, in one layer: `2 * heads * head_dim`.
        logits: For one row of logits: `hidden * vocabulary`.
        windows: For each layer how many keys back a token sees at most, its own included; None: all of them.
    """

    token: int
    key: int
    logits: int
    windows: tuple[int | None, ...]


@dataclass(frozen=True)
class Piece:
    """Tokens at positions `start` to `end` (half-open), each of which sees itself and what stands before it.

    Args:
        hidden: A range of positions that none of them sees.
    """

    start: int
    end: int
    hidden: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return self.end - self.start

    def keys(self, window: int | None = None) -> int:
        """Keys that these tokens see in one layer, added up over the tokens."""
        last_N = np.arange(self.start, self.end)
        first_N = np.zeros_like(last_N) if window is None else np.maximum(0, last_N + 1 - window)
        start, end = self.hidden
        hidden_N = np.maximum(0, np.minimum(last_N + 1, end) - np.maximum(first_N, start))
        return int((last_N + 1 - first_N - hidden_N).sum())


@dataclass(frozen=True)
class Need:
    """What a computation needs: tokens through the trunk, and rows of logits."""

    pieces: Sequence[Piece] = field(default_factory=tuple)
    logits: int = 0

    @property
    def tokens(self) -> int:
        return sum(map(len, self.pieces))

    def __add__(self, other: "Need") -> "Need":
        return Need((*self.pieces, *other.pieces), self.logits + other.logits)


def price(need: Need, prices: Prices) -> int:
    """Multiply-adds of a computation."""
    layers = {window: prices.windows.count(window) for window in set(prices.windows)}
    keys = sum(count * piece.keys(window) for window, count in layers.items() for piece in need.pieces)
    return need.tokens * prices.token + keys * prices.key + need.logits * prices.logits
