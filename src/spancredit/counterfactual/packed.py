"""The packed scorer: each counterfactual recomputes only the tokens that its intervention can change.

Rows are packed into tries (see `trie.py`), tries into batches. A 4-D mask lets every node attend to its ancestors and
nothing else, so the numbers are those of the sequential scorer.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from spancredit.counterfactual.forward import accepts, token_logps
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.trie import Trie
from spancredit.types import Cost

PACKABLE = ("sdpa", "eager")
LEAST_FILLED = 0.8  # a batch takes tries down to this share of its longest, the rest would be padding
LAYER_TYPES = {"full_attention", "sliding_attention"}


def why_not(model: Any) -> str | None:
    """Why rows of this model cannot be packed, or None. Unknown families are left to the self-check."""
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if attention not in PACKABLE:
        return f"its attention implementation is {attention!r}, not one of {', '.join(PACKABLE)}"
    if not accepts(model, "position_ids"):
        return "it takes no position_ids"
    if getattr(model.config, "alibi", False):
        return "it adds position to attention by ALiBi"
    odd = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - LAYER_TYPES
    return f"it has layers of type {', '.join(sorted(odd))}" if odd else None


def outruns_window(model: Any, row: Row) -> bool:
    """Whether the row hides as much as a sliding window reaches, so that a token could be left with nothing to see."""
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    return bool(window and row.hidden and row.hidden[1] - row.hidden[0] >= window)


def score_packed(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> list[tuple[float, Cost]]:
    """Log-probability of each row's answer in nats, and what it took (a forward is counted at its first row)."""
    tries = _pack(model, rows, max_tokens)
    scores: dict[int, list[float]] = {}
    costs: dict[int, Cost] = {}
    order = sorted(range(len(tries)), key=lambda i: len(tries[i]), reverse=True)
    while order:
        width = len(tries[order[0]])
        fit = [i for i in order[: max(1, max_tokens // width)] if len(tries[i]) >= LEAST_FILLED * width]
        for nth, (i, logps) in enumerate(zip(fit, _forward(model, [tries[i] for i in fit], temperature), strict=True)):
            scores[i], costs[i] = logps, Cost(width, int(nth == 0))
        order = order[len(fit) :]
    results: list[tuple[float, Cost]] = []
    for i in range(len(tries)):
        results += [(logp, costs[i] if nth == 0 else Cost()) for nth, logp in enumerate(scores[i])]
    return results


def _pack(model: Any, rows: Sequence[Row], max_tokens: int) -> list[Trie]:
    """Rows in their order into tries. A row joins the trie before it if they share tokens and there is room.

    With masks, attention costs one unit for every pair of nodes, and the layers' products about `c = 6 hidden_size` for
    every node. The cost of a row is then least if a trie that begins with a row of C tokens grows by sqrt(C (c + C)).
    """
    node_cost = 6 * getattr(model.config.get_text_config(), "hidden_size", 1024)
    tries: list[Trie] = []
    room = 0.0
    for row in rows:
        size = len(row.input_ids) - 1
        extra = size - tries[-1].shared(row) if tries else size
        if extra == size or extra > room:
            tries.append(Trie())
            room = min(math.sqrt(size * (node_cost + size)), max_tokens - size) + size
            extra = size
        tries[-1].add(row)
        room -= extra
    return tries


def _forward(model: Any, tries: Sequence[Trie], temperature: float) -> list[list[float]]:
    """For each trie the answer log-probability of each of its rows: one forward.

    Masks and positions are explicit, so the order of nodes is free: those that predict stand last, and logits are
    computed for them alone.
    """
    parameter = next(model.parameters())
    predicting = [trie.predicting() for trie in tries]
    width, keep = max(map(len, tries)), max(map(len, predicting))
    ids_BL = torch.zeros(len(tries), width, dtype=torch.long)
    positions_BL = torch.zeros_like(ids_BL)
    seen_BLL = torch.eye(width, dtype=torch.bool).repeat(len(tries), 1, 1)
    for b, (trie, last) in enumerate(zip(tries, predicting, strict=True)):
        order, pads = sorted(set(range(len(trie))).difference(last)) + last, width - len(trie)
        ids_BL[b, pads:] = torch.tensor(trie.tokens)[order]
        positions_BL[b, pads:] = torch.tensor(trie.positions)[order]
        seen_BLL[b, pads:, pads:] = trie.ancestors()[order][:, order]
    logits_BNV = model(
        input_ids=ids_BL.to(parameter.device),
        position_ids=positions_BL.to(parameter.device),
        attention_mask=_masks(model, seen_BLL, positions_BL),
        use_cache=False,
        logits_to_keep=keep,
    ).logits[:, -keep:]
    logps = []
    for b, (trie, last) in enumerate(zip(tries, predicting, strict=True)):
        place = {node: i for i, node in enumerate(last, start=keep - len(last))}
        kept = torch.tensor([place[node] for path, _ in trie.rows for node in path], device=parameter.device)
        targets = torch.tensor([token for _, answer in trie.rows for token in answer], device=parameter.device)
        logps_A = token_logps(logits_BNV[b, kept], targets, temperature).cpu()
        logps.append([float(part.sum()) for part in logps_A.split([len(path) for path, _ in trie.rows])])
    return logps


def _masks(model: Any, seen_BLL: torch.Tensor, positions_BL: torch.Tensor) -> Any:
    """The mask as the family takes it: one, or one for each type of layer; windows reach back over positions."""
    parameter = next(model.parameters())
    config = model.config.get_text_config()
    types = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    near_BLL = seen_BLL
    if window:
        near_BLL = seen_BLL & (positions_BL[:, :, None] - positions_BL[:, None, :] < window)

    def mask_of(mask_BLL: torch.Tensor) -> torch.Tensor:
        mask_B1LL = mask_BLL[:, None].to(parameter.device)
        if model.config._attn_implementation == "sdpa":
            return mask_B1LL
        zeros = torch.zeros(mask_B1LL.shape, dtype=parameter.dtype, device=parameter.device)
        return zeros.masked_fill(~mask_B1LL, torch.finfo(parameter.dtype).min)

    masks = {"full_attention": seen_BLL, "sliding_attention": near_BLL}
    return {name: mask_of(masks[name]) for name in types} if types else mask_of(near_BLL)
