"""Keys and values of the nodes that later parts read, so that nothing is computed twice."""

from collections.abc import Mapping, Sequence

import torch
from transformers import DynamicCache


class Memory:
    """For each layer the keys and values `(S, heads, size)` of the nodes that are kept, and the slot of each node."""

    def __init__(self) -> None:
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._slots: dict[int, int] = {}

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
        old = [node for node in self._slots if users[node] > 0]
        new = [node for node in places if users[node] > 0]
        old_S = torch.tensor([self._slots[node] for node in old], dtype=torch.long)
        part_S, place_S = torch.tensor([places[node] for node in new], dtype=torch.long).reshape(-1, 2).T
        layers = []
        for i, layer in enumerate(cache.layers):
            taken = []
            for which, states in enumerate((layer.keys, layer.values)):
                found = states[part_S.to(states.device), :, place_S.to(states.device)]
                known = [self._layers[i][which][old_S.to(states.device)]] if old else []
                taken.append(torch.cat([*known, found]))
            layers.append((taken[0], taken[1]))
        self._layers = layers
        self._slots = {node: slot for slot, node in enumerate([*old, *new])}
