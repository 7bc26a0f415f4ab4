"""The packed scorer: each counterfactual recomputes only the tokens that its intervention can change.

rows -> trie -> parts -> batches of parts, each one forward -> log-probabilities

Every node of the trie attends to what its row would, and to nothing else, so the numbers are those of the sequential
scorer. Parts read the keys and values of the parts above them from memory.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from spancredit.counterfactual.forward import accepts, device_of, token_logps
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.masks import BLOCK, Intervals, Sight, masks_for
from spancredit.counterfactual.memory import Memory
from spancredit.counterfactual.packable import fastest_attention
from spancredit.counterfactual.parts import Part, batches, cut
from spancredit.counterfactual.projection import selected_logits
from spancredit.counterfactual.trie import Trie
from spancredit.types import Cost

LEAST_PART = 256
Asked = dict[int, list[int]]  # node -> the tokens whose log-probability after it is asked for


def score_packed(
    model: Any, rows: Sequence[Row], temperature: float, max_tokens: int
) -> list[tuple[tuple[float, ...], Cost]]:
    """For each row the log-probability (nats) of each range it has scored, and what that took.

    A row's tokens are those that it added to the trie; a forward and its padding count at the first row in it.
    """
    trie = Trie()
    for row in rows:
        trie.add(row)
    asked: Asked = defaultdict(list)
    for node, target in sorted({pair for answer in trie.answers for pair in answer.pairs}):
        asked[node].append(target)
    logps: dict[tuple[int, int], float] = {}
    forwards: dict[int, Cost] = {}
    intervals, memory = Intervals.of(trie), Memory()
    with fastest_attention(model):
        parts = cut(trie, part_size(model, max(trie.positions) + 1, max_tokens))
        users = Counter(node for part in parts for node in part.needs)
        for batch in batches(parts, max_tokens, slack(model)):
            together = [parts[i] for i in batch]
            logps |= _forward(model, trie, intervals, together, asked, users, memory, temperature)
            padding = len(together) * max(map(len, together)) - sum(map(len, together))
            forwards[min(part.nodes[0] for part in together)] = Cost(padding, 1)
    scores, first_nodes = [], sorted(forwards)
    for answer in trie.answers:
        start, end = answer.created
        begun = first_nodes[bisect_left(first_nodes, start) : bisect_left(first_nodes, end)]
        cost = sum((forwards[node] for node in begun), Cost(end - start))
        scores.append((answer.sums([logps[pair] for pair in answer.pairs]), cost))
    return scores


def part_size(model: Any, longest: int, max_tokens: int) -> int:
    """Most nodes in a part, for rows of at most `longest` tokens.

    FlexAttention skips what no node sees. A square mask costs attention for every pair of nodes, one unit where a
    layer's products cost about `6 hidden_size` a node: parts of a quarter of that lose little, and beside the nodes
    above it that a part of a long row reads, an eighth of them is little.
    """
    if model.config._attn_implementation == "flex_attention":
        return max_tokens
    hidden_size = model.config.get_text_config().hidden_size
    return min(max(LEAST_PART, 3 * hidden_size // 2, longest // 8), max_tokens)


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
    temperature: float,
) -> dict[tuple[int, int], float]:
    """Log-probability of every (node, token) asked for in these parts; remembers what later parts need."""
    device = device_of(model)
    wide, deep = max(map(len, parts)), max(len(part.needs) for part in parts)
    if model.config._attn_implementation == "flex_attention":
        wide, deep = -(-wide // BLOCK) * BLOCK, -(-deep // BLOCK) * BLOCK
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
    logps = _read(model, inputs, parts, asked, temperature)
    users.subtract(node for part in parts for node in part.needs)
    if kept or deep:
        memory.keep(inputs["past_key_values"], kept, users)
    return logps


def _read(
    model: Any, inputs: dict[str, Any], parts: list[Part], asked: Asked, temperature: float
) -> dict[tuple[int, int], float]:
    """One forward; the log-probabilities of what is asked of it, the output head on the nodes that answer alone."""
    device = device_of(model)
    nodes = [(b, i, node) for b, part in enumerate(parts) for i, node in enumerate(part.nodes) if node in asked]
    pairs = [(node, target) for _, _, node in nodes for target in asked[node]]
    which_Q = torch.tensor(
        [u for u, (_, _, node) in enumerate(nodes) for _ in asked[node]], dtype=torch.long, device=device
    )
    targets_Q = torch.tensor([target for _, target in pairs], dtype=torch.long, device=device)
    parts_U, places_U = torch.tensor([(b, i) for b, i, _ in nodes], dtype=torch.long, device=device).reshape(-1, 2).T
    found: list[float] = []
    start = 0
    for logits_UV in selected_logits(model, inputs, parts_U, places_U):
        here_Q = (which_Q >= start) & (which_Q < start + len(logits_UV))
        chosen_QV = logits_UV[which_Q[here_Q] - start]
        found += token_logps(chosen_QV, targets_Q[here_Q], temperature).tolist()
        start += len(logits_UV)
    return dict(zip(pairs, found, strict=True))
