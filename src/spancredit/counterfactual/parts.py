"""Cut a trie into parts that one forward can hold, and take them in an order in which what each reads is there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from spancredit.counterfactual.trie import Trie

WINDOW = 256  # parts that are looked through for company


@dataclass(frozen=True)
class Part:
    """Consecutive nodes of a trie, and the nodes before them that they see."""

    nodes: range
    needs: list[int]

    def __len__(self) -> int:
        return len(self.nodes)


def cut(trie: Trie, full: int, most: int) -> list[Part]:
    """Parts of at most `most` nodes, that take no more rows once they would have over `full`.

    A row's new nodes stay together where they fit; every tree begins a part.
    """
    bounds = [0]
    for answer in trie.answers:
        start, end = answer.created
        if start == end:
            continue
        if bounds[-1] < start and (trie.parents[start] < 0 or end - bounds[-1] > full):
            bounds.append(start)
        while end - bounds[-1] > most:
            bounds.append(bounds[-1] + most)
    bounds.append(len(trie))
    return [Part(range(a, b), _needs(trie, a, b)) for a, b in pairwise(bounds) if a < b]


def _needs(trie: Trie, start: int, end: int) -> list[int]:
    ancestors: set[int] = set()
    resumed: set[int] = set()
    for node in range(start, end):
        parent = trie.parents[node]
        while 0 <= parent < start and parent not in ancestors:
            ancestors.add(parent)
            parent = trie.parents[parent]
        tail = trie.tails[node]
        if parent >= start and trie.tails[trie.parents[node]] == tail:
            continue  # what the parent reads has been noted
        while tail >= 0 and trie.positions[tail] >= trie.resumes[node]:
            if tail < start:
                resumed.add(tail)
            tail = trie.parents[tail]
    return sorted(ancestors | resumed)


def batches(
    parts: Sequence[Part], max_tokens: int, slack: int, room: Callable[[int], int] = int
) -> Iterator[list[int]]:
    """Indices of parts to forward together, each after those it reads.

    The first part that is left is joined by others of nearly its width: at most `max_tokens` nodes in all, of which
    at most `slack` are padding.

    Args:
        room: What so many nodes of a part take, which counts towards `max_tokens` and is no padding.
    """
    home = {node: i for i, part in enumerate(parts) for node in part.nodes}
    sources = [{home[node] for node in part.needs} for part in parts]
    left = list(range(len(parts)))
    done: set[int] = set()
    while left:
        first, *others = left[:WINDOW]
        ready = [i for i in others if sources[i] <= done]
        ready.sort(key=lambda i: (abs(len(parts[i]) - len(parts[first])), i))
        batch, nodes = [first], len(parts[first])
        reads = longest_read = len(parts[first].needs)
        width = nodes
        for i in ready:
            wide, deep = max(width, len(parts[i])), max(longest_read, len(parts[i].needs))
            count = len(batch) + 1
            padded = count * (wide + deep) - (nodes + len(parts[i]) + reads + len(parts[i].needs))
            if count * (room(wide) + room(deep)) > max_tokens or padded > slack:
                break
            batch.append(i)
            width, longest_read = wide, deep
            nodes, reads = nodes + len(parts[i]), reads + len(parts[i].needs)
        done.update(batch)
        left = [i for i in left if i not in done]
        yield batch
