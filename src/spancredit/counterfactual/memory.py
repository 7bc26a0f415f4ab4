"""Keys and values of the nodes that later parts read, so that nothing is computed twice."""

from collections.abc import Mapping, Sequence

import torch
from transformers import DynamicCache

LEAST = 1024  # slots at first


class Memory:
    """For each layer the keys and values `(S, heads, size)` of the nodes that are kept, and the slot of each node.

    Slots of nodes that nobody uses any more are taken again; the tensors double when all are in use.
    """

    def __init__(self) -> None:
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._slots: dict[int, int] = {}
        self._free: list[int] = []

    def recall(self, nodes: Sequence[Sequence[int]], deep: int) -> DynamicCache:
        """A cache that holds, for each part, the nodes it needs, right-padded to `deep`."""
        if not deep:
            return DynamicCache()
        slots_BP = torch.zeros(len(nodes), deep, dtype=torch.long)
        for b, needed in enumerate(nodes):
            slots_BP[b, : len(needed)] = torch.tensor([self._slots[node] for node in needed], dtype=torch.long)
        return DynamicCache(
            [
                tuple(kept[slots_BP.to(kept.device)].transpose(1, 2) for kept in keys_and_values)
                for keys_and_values in self._layers
            ]
        )

    def keep(self, cache: DynamicCache, places: dict[int, tuple[int, int]], users: Mapping[int, int]) -> None:
        """Forget what nobody uses any more, and take nodes over from the cache, each from its (part, place in it)."""
        for node in [node for node in self._slots if users[node] <= 0]:
            self._free.append(self._slots.pop(node))
        new = [node for node in places if users[node] > 0]
        self._grow(cache, len(new))
        for node in new:
            self._slots[node] = self._free.pop()
        slot_S = torch.tensor([self._slots[node] for node in new], dtype=torch.long)
        part_S, place_S = torch.tensor([places[node] for node in new], dtype=torch.long).reshape(-1, 2).T
        for kept, layer in zip(self._layers, cache.layers, strict=True):
            for store, states in zip(kept, (layer.keys, layer.values), strict=True):
                device = states.device
                store[slot_S.to(device)] = states[part_S.to(device), :, place_S.to(device)]

    def _grow(self, cache: DynamicCache, count: int) -> None:
        """Make room for `count` more nodes."""
        if count <= len(self._free):
            return
        size = len(self._slots) + len(self._free)
        more = max(LEAST, size, count)
        self._free += range(size, size + more)

        wider = []
        for i, layer in enumerate(cache.layers):
            stores = [x.new_zeros(size + more, x.shape[1], x.shape[3]) for x in (layer.keys, layer.values)]
            for store, kept in zip(stores, self._layers[i] if size else (), strict=False):
                store[:size] = kept
            wider.append((stores[0], stores[1]))
        self._layers = wider
