"""A trie of rows: what several rows have in common is one path, so each token that differs is computed once.

A node is a token at a position after a given history. Rows that begin alike (the prompt, the completion before a span)
share nodes; a row that hides a span leaves its nodes out and keeps the positions after it; a row with a horizon reads
the nodes of the original beyond it.
"""

from dataclasses import dataclass, field
from itertools import islice

from spancredit.counterfactual.interventions import Row

NEVER = 2**30  # a position beyond every position
ROOT = 8  # rows that share fewer tokens from their start than this grow trees of their own: a BOS is no common prompt


@dataclass
class Answer:
    """Where a row's log-probabilities come from.

    Args:
        nodes: The nodes that predict what the row has scored, one a token.
        targets: Those tokens.
        sizes: How many of them belong to each scored range.
        created: The nodes that the row added to the trie, a range.
    """

    nodes: list[int]
    targets: list[int]
    sizes: list[int]
    created: tuple[int, int]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.nodes, self.targets, strict=True))

    def sums(self, logps: list[float]) -> tuple[float, ...]:
        """Log-probabilities of the tokens, added up for each scored range."""
        remaining = iter(logps)
        return tuple(sum(islice(remaining, size)) for size in self.sizes)


@dataclass
class Trie:
    """Rows as one forest of nodes, parents before children.

    A node sees its ancestors and itself; a silent one is seen by nobody, not even itself: it only asks. A node whose
    `tail` is not -1 also sees that node and its ancestors, from position `resume` on.

    Args:
        tokens, positions, parents, tails, resumes, silent: One entry a node; -1 is the parent of a root.
        answers: One entry a row.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    tails: list[int] = field(default_factory=list)
    resumes: list[int] = field(default_factory=list)
    silent: list[bool] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    children: dict[tuple[int, int, int, int, int, bool], int] = field(default_factory=dict, repr=False)
    roots: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    paths: dict[tuple[int, ...], list[int]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, row: Row) -> None:
        """Add the nodes that are not here yet, and remember which ones predict what the row has scored."""
        before = len(self)
        path = self._path(row.original or row.input_ids)
        root = self._root((row.original or row.input_ids)[:ROOT])
        asked = {position - 1 for first, last in row.scored for position in range(first, last)}
        if row.original is None:
            at = {position: path[position] for position in asked}
        else:
            at = self._branch(row, path, path[row.start - 1] if row.start else root, asked)
        nodes = [at[position - 1] for first, last in row.scored for position in range(first, last)]
        targets = [row.input_ids[position] for first, last in row.scored for position in range(first, last)]
        self.answers.append(Answer(nodes, targets, [last - first for first, last in row.scored], (before, len(self))))

    def _path(self, ids: tuple[int, ...]) -> list[int]:
        """The nodes of a clean row, one a position."""
        path = self.paths.get(ids)
        if path is None:
            path, node = [], self._root(ids[:ROOT])
            for position, token in enumerate(ids[:-1]):
                node = self._child(node, token, position)
                path.append(node)
            self.paths[ids] = path
        return path

    def _branch(self, row: Row, path: list[int], node: int, asked: set[int]) -> dict[int, int]:
        """The nodes of a counterfactual from where it differs: for each position the one that predicts what follows."""
        at = {row.start - 1: node}
        stop = len(row.input_ids) - 1 if row.resume is None else row.resume
        hidden = range(*row.hidden) if row.hidden is not None else range(0)
        for position in range(row.start, stop):
            if position not in hidden:
                node = self._child(node, row.input_ids[position], position)
                at[position] = node
            elif position in asked:
                at[position] = self._child(node, row.input_ids[position], position, silent=True)
        if row.resume is not None:
            tail = path[row.answer_start - 2]
            for position in range(row.answer_start - 1, len(row.input_ids) - 1):
                node = self._child(node, row.input_ids[position], position, tail, row.resume)
                at[position] = node
        return at

    def _root(self, start: tuple[int, ...]) -> int:
        """The virtual root of the tree whose rows begin with these tokens: a negative number."""
        return self.roots.setdefault(start, -1 - len(self.roots))

    def _child(
        self, parent: int, token: int, position: int, tail: int = -1, resume: int = NEVER, silent: bool = False
    ) -> int:
        key = (parent, token, position, tail, resume, silent)
        node = self.children.get(key)
        if node is None:
            node = self.children[key] = len(self.tokens)
            self.tokens.append(token)
            self.positions.append(position)
            self.parents.append(max(parent, -1))
            self.tails.append(tail)
            self.resumes.append(resume)
            self.silent.append(silent)
        return node
