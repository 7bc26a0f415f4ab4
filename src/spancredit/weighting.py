"""Weighting: signed drops -> importance -> what multiplies the advantage of each token.

The modes differ only in how importances are arranged over the spans of one completion, so they share spans, answer
weight, conservation and cost (the matched controls of the paper, Section 3 and its inversion experiment).
"""

import random
from collections.abc import Sequence

import torch

from spancredit.names import Mode
from spancredit.types import Span

ONE_NAT = 1.0


def importances(drops_K: Sequence[float], noise_floor: float, full_scale: float) -> list[float]:
    """Drops (nats) above the floor, over the largest of them or `full_scale`, whichever is more: in [0, 1]."""
    above_K = [max(drop - noise_floor, 0.0) for drop in drops_K]
    scale = max([full_scale, *above_K])
    return [above / scale for above in above_K]


def mediated(drops_K: Sequence[float], influence_KK: torch.Tensor, noise_floor: float) -> list[float]:
    """Credit (nats) that a span earns itself, and through the later spans that it made likely.

    From the last span to the first: credit of a span = its drop above the noise floor + its share of each later span's
    credit. A later span owes a share to each span before it: influence above the placebo floor over the sum of those,
    or over one nat if that is more. The placebo floor of a span is the median of what masking any span before it costs
    it (the noise floor, where there is one only), since most of that is the strangeness of a hole, whatever was in it.

    Args:
        drops_K: Drops of the answer, nats.
        influence_KK: `(K, K)`, nats: at `[j, k]` what masking span `j` costs the later span `k`.
    """
    count = len(drops_K)
    credit_K = [max(drop - noise_floor, 0.0) for drop in drops_K]
    for k in range(count - 1, 0, -1):
        before_J = influence_KK[:k, k].double()
        floor = max(noise_floor, float(before_J.quantile(0.5))) if k > 1 else noise_floor
        above_J = (before_J - floor).clamp(min=0)
        shares_J = above_J / max(ONE_NAT, float(above_J.sum()))
        for j, share in enumerate(shares_J.tolist()):
            credit_K[j] += share * credit_K[k]
    return credit_K


def arrange(importances_K: Sequence[float], mode: Mode, seed: int) -> list[float]:
    """Span scores under a mode: as measured, reflected about the middle of their range, or permuted."""
    if mode == "inverted":
        return [max(importances_K) + min(importances_K) - importance for importance in importances_K]
    if mode == "random":
        return random.Random(seed).sample(list(importances_K), len(importances_K))
    return list(importances_K)


def token_weights(
    size: int,
    spans: Sequence[Span],
    span_weights_K: Sequence[float],
    answer: Span | None,
    answer_weight: float,
    loss_mask: Sequence[int] | None,
    conserve: bool,
) -> torch.Tensor:
    """float32 `(T,)`: each span's weight on its tokens, the answer's on its own, 1 elsewhere.

    Conserved weights have mean 1 over the tokens of the loss. Only the spans are scaled for it, so the answer weighs
    the same in every mode; where the answer outweighs the reasoning and leaves it nothing, all are scaled. Weights that
    are all 0 on the loss stay as they are.
    """
    weights_T = torch.ones(size, dtype=torch.float64)
    in_span_T = torch.zeros(size, dtype=torch.bool)
    for span, weight in zip(spans, span_weights_K, strict=True):
        weights_T[span.start : span.end] = weight
        in_span_T[span.start : span.end] = True
    if answer is not None:
        weights_T[answer.start : answer.end] = answer_weight
    if conserve:
        counted_T = torch.ones(size, dtype=torch.bool) if loss_mask is None else torch.as_tensor(loss_mask).bool()
        mass = float(weights_T[counted_T & in_span_T].sum())
        left = float(counted_T.sum() - weights_T[counted_T & ~in_span_T].sum())
        mean = float(weights_T[counted_T].mean())
        if mass > 0 and left > 0:
            weights_T[in_span_T] *= left / mass
        elif mean > 0:
            weights_T /= mean
    return weights_T.float()
