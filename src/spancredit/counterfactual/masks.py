"""Which nodes of a trie see which: as a mask of booleans, or as blocks for FlexAttention, which builds no square.

Nodes are numbered in preorder, so that the descendants of a node are the interval from its number to the end of its
subtree. A query sees a key if its number lies in the key's interval, or if its tail's does and the key stands far
enough on.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask

from spancredit.counterfactual.forward import device_of
from spancredit.counterfactual.parts import Part
from spancredit.counterfactual.trie import NEVER, Trie

BLOCK = 128


@dataclass(frozen=True)
class Intervals:
    """For each node, int64 `(N,)`: its preorder number, the end of its subtree, its tail's number (-1 for none), the
    position from which it sees its tail's path, and its own position."""

    start: np.ndarray
    end: np.ndarray
    tail: np.ndarray
    resume: np.ndarray
    position: np.ndarray

    @classmethod
    def of(cls, trie: Trie) -> "Intervals":
        count = len(trie)
        sizes = [1] * count
        for node in range(count - 1, -1, -1):
            if trie.parents[node] >= 0:
                sizes[trie.parents[node]] += sizes[node]
        starts, following, roots = [0] * count, [0] * count, 0
        for node, parent in enumerate(trie.parents):
            if parent < 0:
                starts[node], roots = roots, roots + sizes[node]
            else:
                starts[node], following[parent] = following[parent], following[parent] + sizes[node]
            following[node] = starts[node] + 1
        start = np.array(starts, dtype=np.int64)
        end = np.where(trie.silent, start, start + np.array(sizes))
        tails = np.array(trie.tails)
        tail = np.where(tails < 0, -1, start[tails])
        return cls(start, end, tail, np.array(trie.resumes), np.array(trie.positions))


@dataclass(frozen=True)
class Sight:
    """What queries `(B, N)` and keys `(B, K)` see each other by: numbers, subtrees, tails and positions (`place`)."""

    number_BN: torch.Tensor
    place_BN: torch.Tensor
    tail_BN: torch.Tensor
    resume_BN: torch.Tensor
    start_BK: torch.Tensor
    end_BK: torch.Tensor
    position_BK: torch.Tensor

    @classmethod
    def of(cls, intervals: Intervals, parts: list[Part], deep: int, wide: int) -> "Sight":
        """Keys are what the parts need, padded to `deep`, then their own nodes, to `wide`; padding sees itself."""
        shape = (len(parts), deep + wide)
        number = np.tile(NEVER + np.arange(deep + wide), (len(parts), 1))
        end, position = number + 1, np.zeros(shape, dtype=np.int64)
        tail, resume = np.full(shape, -1), np.full(shape, NEVER)
        for b, part in enumerate(parts):
            needs, own = np.array(part.needs, dtype=np.int64), np.arange(part.nodes.start, part.nodes.stop)
            for at, nodes in ((0, needs), (deep, own)):
                here = slice(at, at + len(nodes))
                number[b, here], end[b, here] = intervals.start[nodes], intervals.end[nodes]
                position[b, here] = intervals.position[nodes]
                tail[b, here] = intervals.tail[nodes]
                resume[b, here] = intervals.resume[nodes]
        asking = [torch.from_numpy(array[:, deep:].copy()) for array in (number, position, tail, resume)]
        return cls(*asking, *(torch.from_numpy(array) for array in (number, end, position)))

    def to(self, device: torch.device) -> "Sight":
        return Sight(*(tensor.to(device) for tensor in vars(self).values()))

    def dense(self, window: int | None) -> torch.Tensor:
        """bool `(B, N, K)`; with a sliding window no key further back than it reaches, in positions."""
        start, end, position = (x[:, None, :] for x in (self.start_BK, self.end_BK, self.position_BK))
        number, tail, resume = (x[:, :, None] for x in (self.number_BN, self.tail_BN, self.resume_BN))
        seen_BNK = (start <= number) & (number < end)
        if bool((self.tail_BN >= 0).any()):
            seen_BNK |= (start <= tail) & (tail < end) & (position >= resume)
        if window is not None:
            seen_BNK &= self.place_BN[:, :, None] - position < window
        return seen_BNK

    def blocks(self, window: int | None) -> BlockMask:
        """The same for FlexAttention: which blocks of keys a block of queries may see, and the rule inside them.

        The rule is one for all windows and shapes, and reads tensors only, so that it is compiled once.
        """
        reach = torch.tensor(NEVER if window is None else window, device=self.number_BN.device)

        def rule(b: Any, _: Any, q: Any, k: Any) -> Any:
            number, tail = self.number_BN[b, q], self.tail_BN[b, q]
            start, end, position = self.start_BK[b, k], self.end_BK[b, k], self.position_BK[b, k]
            later = position >= self.resume_BN[b, q]
            seen = ((start <= number) & (number < end)) | ((start <= tail) & (tail < end) & later)
            return seen & (self.place_BN[b, q] - position < reach)

        low, high = _bounds(self.number_BN)
        tail_low, tail_high = _bounds(self.tail_BN)
        start, _ = _bounds(self.start_BK)
        _, end = _bounds(self.end_BK)
        start, end = start[:, None, :], end[:, None, :]
        may_see = (start <= high[:, :, None]) & (low[:, :, None] < end)
        may_see |= (start <= tail_high[:, :, None]) & (tail_low[:, :, None] < end) & (tail_high[:, :, None] >= 0)
        counts = may_see.sum(-1, dtype=torch.int32)
        order = torch.argsort(may_see.int(), dim=-1, descending=True, stable=True).int()
        return BlockMask.from_kv_blocks(
            counts[:, None],
            order[:, None],
            BLOCK_SIZE=BLOCK,
            mask_mod=rule,
            seq_lengths=(self.number_BN.shape[1], self.start_BK.shape[1]),
        )


def _bounds(values_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest of each block of values."""
    pads = -values_BN.shape[1] % BLOCK
    padded = torch.cat([values_BN, values_BN[:, -1:].expand(-1, pads)], dim=1).unflatten(1, (-1, BLOCK))
    return padded.amin(-1), padded.amax(-1)


def masks_for(model: Any, sight: Sight) -> Any:
    """The mask as the family takes it: one, or one for each type of layer; windows reach back over positions."""
    config = model.config.get_text_config()
    parameter = next(model.parameters())
    sight = sight.to(device_of(model))
    window = getattr(config, "sliding_window", None)
    types = set(getattr(config, "layer_types", None) or ())

    def mask(window: int | None) -> Any:
        if model.config._attn_implementation == "flex_attention":
            return sight.blocks(window)
        seen_B1NK = sight.dense(window)[:, None]
        if model.config._attn_implementation == "sdpa":
            return seen_B1NK
        zeros = torch.zeros(seen_B1NK.shape, dtype=parameter.dtype, device=device_of(model))
        return zeros.masked_fill(~seen_B1NK, torch.finfo(parameter.dtype).min)

    if not types:
        return mask(window)
    return {name: mask(window if name == "sliding_attention" else None) for name in types}
