"""The packed scorer: each counterfactual recomputes only the tokens that its intervention can change.

rows -> tries -> parts -> batches of parts, each one forward -> log-probabilities

Every node of the trie attends to what its row would, and to nothing else, so the numbers are those of the sequential
scorer. Parts read the keys and values of the parts above them from memory.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from spancredit.counterfactual.forward import accepts, device_of, token_logps
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.masks import BLOCK, Intervals, Sight, masks_for
from spancredit.counterfactual.memory import Memory
from spancredit.counterfactual.packable import fastest_attention
from spancredit.counterfactual.parts import Part, batches, cut
from spancredit.counterfactual.projection import chunk_size, logits_of, trunk_states
from spancredit.counterfactual.trie import Trie
from spancredit.types import Cost

LEAST_PART = 128
MOST_NODES = 2**21  # of a trie, which takes some 400 bytes of the host for each; 128 forwards of 16384 tokens
Asked = dict[int, list[int]]  # node -> the tokens whose log-probability after it is asked for
States = list[tuple[list[int], Any]]  # nodes, and what the trunk gave for them


def score_packed(
    model: Any, rows: Sequence[Row], temperature: float, max_tokens: int
) -> list[tuple[tuple[float, ...], Cost]]:
    """For each row the log-probability (nats) of each range it has scored, and what that took.

    A row's tokens are those that it added to its trie; a forward and its padding count at the first row in it.
    """
    return [score for some in shares(rows) for score in _score_trie(model, some, temperature, max_tokens)]


def shares(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that share a trie, of about `MOST_NODES` nodes at most; those of a rollout stay together.

    What two tries have in common, such as a group's prompt, is computed in both.
    """
    share: list[Row] = []
    nodes = 0
    for row in rows:
        size = len(row.input_ids)
        own = (size if row.resume is None else row.resume + size - row.answer_start + 1) - row.start
        if share and nodes + own > MOST_NODES and _original(row) != _original(share[-1]):
            yield share
            share, nodes = [], 0
        share.append(row)
        nodes += own
    if share:
        yield share


def _original(row: Row) -> tuple[int, ...]:
    return row.original or row.input_ids


def _score_trie(
    model: Any, rows: Sequence[Row], temperature: float, max_tokens: int
) -> list[tuple[tuple[float, ...], Cost]]:
    trie = Trie()
    for row in rows:
        trie.add(row)
    asked: Asked = defaultdict(list)
    for node, target in sorted({pair for answer in trie.answers for pair in answer.pairs}):
        asked[node].append(target)
    logps: dict[tuple[int, int], float] = {}
    forwards: dict[int, Cost] = {}
    intervals, memory = Intervals.of(trie), Memory()
    states: States = []
    with fastest_attention(model):
        parts = cut(trie, *part_sizes(model, max(trie.positions) + 1, max_tokens))
        users = Counter(node for part in parts for node in part.needs)
        for batch in batches(parts, max_tokens, slack(model), partial(room, model)):
            together = [parts[i] for i in batch]
            states += _forward(model, trie, intervals, together, asked, users, memory)
            if sum(len(nodes) for nodes, _ in states) >= chunk_size(model):
                logps |= _read(model, states, asked, temperature)
                states = []
            padding = len(together) * room(model, max(map(len, together))) - sum(map(len, together))
            forwards[min(part.nodes[0] for part in together)] = Cost(padding, 1)
        logps |= _read(model, states, asked, temperature)
    scores, first_nodes = [], sorted(forwards)
    for answer in trie.answers:
        start, end = answer.created
        begun = first_nodes[bisect_left(first_nodes, start) : bisect_left(first_nodes, end)]
        cost = sum((forwards[node] for node in begun), Cost(end - start))
        scores.append((answer.sums([logps[pair] for pair in answer.pairs]), cost))
    return scores


def part_sizes(model: Any, longest: int, max_tokens: int) -> tuple[int, int]:
    """From how many nodes on a part takes no more rows, and the most it holds, for rows of at most `longest` tokens.

    FlexAttention skips what no node sees. A square mask costs attention for every pair of nodes, one unit where a
    layer's products cost about `6 hidden_size` a node: rows that share a part lose little while it is small. A row
    alone loses half at most, and is cut where that is much; beside the nodes above it that a part of a long row
    reads, an eighth of them is little.
    """
    if model.config._attn_implementation == "flex_attention":
        return max_tokens, max_tokens
    hidden_size = model.config.get_text_config().hidden_size
    most = min(max(2 * LEAST_PART, 3 * hidden_size // 2, longest // 8), max_tokens)
    return min(max(LEAST_PART, 3 * hidden_size // 8), most), most


def room(model: Any, tokens: int) -> int:
    """What so many tokens take: FlexAttention's masks are made of whole blocks."""
    block = BLOCK if model.config._attn_implementation == "flex_attention" else 1
    return -(-tokens // block) * block


def slack(model: Any) -> int:
    """Tokens of padding that cost less than another forward: on a CPU many of a small model, few of a large one."""
    if device_of(model).type != "cpu":
        return 1024
    return min(256, 2**22 // model.config.get_text_config().hidden_size ** 2)


def _forward(
    model: Any,
    trie: Trie,
    intervals: Intervals,
    parts: list[Part],
    asked: Asked,
    users: Counter[int],
    memory: Memory,
) -> States:
    """One forward: what the trunk gives for those nodes that are asked; remembers what later parts need."""
    device = device_of(model)
    wide, deep = room(model, max(map(len, parts))), room(model, max(len(part.needs) for part in parts))
    ids_BN = torch.zeros(len(parts), wide, dtype=torch.long)
    positions_BN = torch.zeros_like(ids_BN)
    for b, part in enumerate(parts):
        nodes = slice(part.nodes.start, part.nodes.stop)
        ids_BN[b, : len(part)] = torch.tensor(trie.tokens[nodes])
        positions_BN[b, : len(part)] = torch.tensor(trie.positions[nodes])
    kept = {node: (b, deep + i) for b, part in enumerate(parts) for i, node in enumerate(part.nodes) if users[node]}
    inputs: dict[str, Any] = {
        "input_ids": ids_BN.to(device),
        "position_ids": positions_BN.to(device),
        "attention_mask": masks_for(model, Sight.of(intervals, parts, deep, wide)),
        "use_cache": bool(kept or deep),
    }
    if accepts(model, "output_router_logits"):
        inputs["output_router_logits"] = False  # a load-balancing loss would read our mask
    if kept or deep:
        inputs["past_key_values"] = memory.recall([part.needs for part in parts], deep)
    places = [(b, i, node) for b, part in enumerate(parts) for i, node in enumerate(part.nodes) if node in asked]
    part_U, place_U = torch.tensor([(b, i) for b, i, _ in places], dtype=torch.long, device=device).reshape(-1, 2).T
    states = trunk_states(model, inputs, part_U, place_U)
    users.subtract(node for part in parts for node in part.needs)
    if kept or deep:
        memory.keep(inputs["past_key_values"], kept, users)
    return [([node for _, _, node in places], states)] if places else []


def _read(model: Any, states: States, asked: Asked, temperature: float) -> dict[tuple[int, int], float]:
    """The log-probabilities that are asked of these nodes: the output head on them alone."""
    if not states:
        return {}
    device = device_of(model)
    nodes = [node for some, _ in states for node in some]
    pairs = [(node, target) for node in nodes for target in asked[node]]
    which_Q = torch.tensor([u for u, node in enumerate(nodes) for _ in asked[node]], device=device)
    targets_Q = torch.tensor([target for _, target in pairs], device=device)
    found: list[float] = []
    start = 0
    for logits_UV in logits_of(model, [state for _, state in states]):
        here_Q = (which_Q >= start) & (which_Q < start + len(logits_UV))
        chosen_QV = logits_UV[which_Q[here_Q] - start]
        found += token_logps(chosen_QV, targets_Q[here_Q], temperature).tolist()
        start += len(logits_UV)
    return dict(zip(pairs, found, strict=True))
