"""A trie of rows: what several rows have in common is one path, so each token that differs is computed once.

A node is a token at a position after a given history. Rows that begin alike (the prompt, the completion before a span)
share nodes; a row that hides a span leaves its nodes out and keeps the positions after it.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from spancredit.counterfactual.interventions import Row


@dataclass
class Trie:
    """Rows packed into one sequence of nodes, parents before children.

    Args:
        tokens, positions, parents: One entry a node; -1 is the parent of a root.
        hidden: Nodes that no node attends to, not even they themselves.
        rows: For each row the nodes that predict its answer, and the ids that the answer has.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    rows: list[tuple[list[int], list[int]]] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    children: dict[tuple[int, int, int], int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def shared(self, row: Row) -> int:
        """How many of the row's nodes are here already."""
        node, count = -1, 0
        for position in visible(row):
            node = self.children.get((node, row.input_ids[position], position), -1)
            if node < 0:
                break
            count += 1
        return count

    def add(self, row: Row) -> None:
        first = len(row.input_ids) - row.answer_size  # position of the answer; the token before it predicts it
        node = -1
        predicting: list[int] = []
        for position in visible(row):
            if position >= first and not predicting:  # the token that predicts the answer is hidden: it only asks
                predicting.append(self._node(node, row.input_ids[first - 1], first - 1, hidden=True))
            node = self._node(node, row.input_ids[position], position)
            if position >= first - 1:
                predicting.append(node)
        if not predicting:
            predicting.append(self._node(node, row.input_ids[first - 1], first - 1, hidden=True))
        self.rows.append((predicting, list(row.input_ids[first:])))

    def _node(self, parent: int, token: int, position: int, hidden: bool = False) -> int:
        key = (parent, token, position)
        if not hidden and key in self.children:
            return self.children[key]
        if hidden:
            self.hidden.append(len(self.tokens))
        else:
            self.children[key] = len(self.tokens)
        self.tokens.append(token)
        self.positions.append(position)
        self.parents.append(parent)
        return len(self.tokens) - 1

    def predicting(self) -> list[int]:
        """The nodes whose next token is scored."""
        return sorted({node for path, _ in self.rows for node in path})

    def ancestors(self) -> torch.Tensor:
        """bool `(N, N)`: which nodes each node may attend to, itself among them."""
        seen = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        seen[self.hidden, self.hidden] = False
        return torch.from_numpy(seen)


def visible(row: Row) -> list[int]:
    """Positions that later tokens read: all but the hidden span and the last token, which predicts nothing."""
    positions = list(range(len(row.input_ids) - 1))
    return positions if row.hidden is None else positions[: row.hidden[0]] + positions[row.hidden[1] :]
