"""Sample many continuations of many prefixes, fast enough on one core.

Samples that have had the same tokens so far share one row of the batch: the distribution is that of independent
sampling, and the many continuations that agree for a while cost one. Keys and values stay where they are: a row that
splits is copied, no other.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicLayer

MOST_SAMPLES = 1024  # in one batch


def continue_many(
    model: Any, prefixes: Sequence[Sequence[int]], count: int, longest: int, generator: torch.Generator
) -> list[list[list[int]]]:
    """For each prefix `count` continuations sampled at temperature 1: new tokens, up to the end token and with it.

    A continuation stops without one where prefix and continuation have `longest` tokens.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, prefix in enumerate(prefixes):
        by_length[len(prefix)].append(i)
    found: list[list[list[int]]] = [[] for _ in prefixes]
    size = max(1, MOST_SAMPLES // count)
    for indices in by_length.values():
        for first in range(0, len(indices), size):
            batch = indices[first : first + size]
            texts = _continue(model, [prefixes[i] for i in batch], count, longest, generator)
            for nth, i in enumerate(batch):
                found[i] = texts[nth * count : (nth + 1) * count]
    return found


class Buffer(DynamicLayer):
    """Keys and values of one layer in place: a row a sequence, a column a position."""

    rows: int  # at most
    width: int
    filled: int

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.store = torch.empty(2, self.rows, keys.shape[1], self.width, keys.shape[3])
            self.filled = 0
        rows, start = len(keys), self.filled
        self.filled += keys.shape[2]
        self.store[0, :rows, :, start : self.filled] = keys
        self.store[1, :rows, :, start : self.filled] = values
        self.keys, self.values = self.store[:, :rows, :, : self.filled]
        return self.keys, self.values

    def copy_rows(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        self.store[:, targets, :, : self.filled] = self.store[:, sources, :, : self.filled]


def _buffers(model: Any, rows: int, width: int) -> Cache:
    layers = [Buffer() for _ in range(model.config.num_hidden_layers)]
    for layer in layers:
        layer.rows, layer.width = rows, width
    return Cache(layers=layers)


@torch.no_grad()
def _continue(
    model: Any, prefixes: Sequence[Sequence[int]], count: int, longest: int, generator: torch.Generator
) -> list[list[int]]:
    """Continuations of prefixes of one length, `count` after each other for each. S: samples, B: rows."""
    steps = longest - len(prefixes[0])
    rows_S = torch.arange(len(prefixes)).repeat_interleave(count)
    names_S = torch.arange(len(rows_S))
    ids_BL, said_BT = torch.tensor([list(prefix) for prefix in prefixes]), torch.zeros(len(prefixes), 0).long()
    cache = _buffers(model, len(rows_S), longest)
    texts: list[list[int]] = [[] for _ in rows_S]
    for step in range(steps):
        logits_BV = model(input_ids=ids_BL, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        tokens_S = _draw(logits_BV, rows_S, generator)
        keys_B, rows_S = torch.unique(rows_S * logits_BV.shape[1] + tokens_S, return_inverse=True)
        parents_B, tokens_B = keys_B // logits_BV.shape[1], keys_B % logits_BV.shape[1]
        said_BT = torch.cat([said_BT[parents_B], tokens_B[:, None]], dim=1)
        alive_B = (tokens_B != model.config.eos_token_id) & (step < steps - 1)
        for s in (~alive_B)[rows_S].nonzero()[:, 0].tolist():
            texts[int(names_S[s])] = said_BT[rows_S[s]].tolist()
        if not alive_B.any():
            break
        slots_B, moved_B = _places(parents_B[alive_B])
        for layer in cache.layers:
            layer.copy_rows(parents_B[alive_B][moved_B], slots_B[moved_B])
        alive_S = alive_B[rows_S]
        names_S, rows_S = names_S[alive_S], slots_B[(alive_B.cumsum(0) - 1)[rows_S[alive_S]]]
        order_B = slots_B.argsort()
        said_BT, ids_BL = said_BT[alive_B][order_B], tokens_B[alive_B][order_B, None]
    return texts


def _draw(logits_BV: torch.Tensor, rows_S: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A token for each sample from the distribution of its row."""
    totals_BV = logits_BV.double().softmax(-1).cumsum(-1)
    noise_S1 = torch.rand(len(rows_S), 1, generator=generator, dtype=torch.float64)
    return torch.searchsorted(totals_BV[rows_S], noise_S1 * totals_BV[rows_S, -1:], right=True)[:, 0]


def _places(parents_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A row for each child, 0 to their number, and which children do not stay in their parent's row.

    The first child stays, unless that would leave a gap; `parents_B` is sorted.
    """
    first_B = torch.ones_like(parents_B, dtype=torch.bool)
    first_B[1:] = parents_B[1:] != parents_B[:-1]
    stays_B = first_B & (parents_B < len(parents_B))
    free_B = torch.ones_like(stays_B)
    free_B[parents_B[stays_B]] = False
    slots_B = parents_B.clone()
    slots_B[~stays_B] = free_B.nonzero()[:, 0]
    return slots_B, ~stays_B
