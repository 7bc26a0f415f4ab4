"""Drops within a budget of tokens: exact where that fits, else coarse to fine, a horizon, a sample of rollouts."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Protocol

from scipy.stats import spearmanr

from spancredit.counterfactual.interventions import Range
from spancredit.counterfactual.measure import Measured, Measurement, Settings, Target, measure, method_name
from spancredit.counterfactual.packable import why_not
from spancredit.counterfactual.prices import Prices

HORIZONS = (64,)  # nearer ones rank spans too unlike exact drops do: docs/fidelity.md
STEP_FORWARDS = 4  # what a training step costs at least, in forwards of its rollouts: one to sample, three to learn
CHECKED = 0.1  # share of the allowance that goes into checking
LOTS = 2**32


class BudgetSettings(Settings, Protocol):
    @property
    def noise_floor(self) -> float: ...


def default_allowance(budget: float, tokens: int) -> float:
    """Tokens that scoring may send through the model beside a step on rollouts of so many, where none was timed."""
    return budget / (1 - budget) * STEP_FORWARDS * tokens


def within_budget(
    model: Any,
    targets: Sequence[Target],
    settings: BudgetSettings,
    replacement: Sequence[int],
    allowance: float,
    lots: Sequence[int],
) -> list[Measurement]:
    """Measure as exactly as `allowance` tokens permit; where that is not exactly, check a rollout now and then.

    Args:
        lots: For each target a number below 2**32 of its own, which decides whether it is sampled and checked: a run
            and its resumption draw the same.
    """
    prices = Prices(targets, settings, packs=why_not(model) is None)
    method, horizon, chosen = _choose(prices, allowance, lots)
    scored = [targets[i] for i in chosen]
    if method == "coarse":
        found = _coarse_to_fine(model, scored, settings, replacement, allowance, prices)
    else:
        found = measure(model, scored, settings, replacement, horizon)
    results = [Measurement(None, method)] * len(targets)
    for i, measured in zip(chosen, found, strict=True):
        results[i] = Measurement(measured, method)
    if method != "exact" and chosen:
        i = min(chosen, key=lambda i: _second_lot(lots[i]))
        if _second_lot(lots[i]) * prices.alone(targets[i], None) <= CHECKED * allowance * LOTS / len(chosen):
            results[i] = _check(model, targets[i], results[i], settings, replacement)
    return results


def _choose(prices: Prices, allowance: float, lots: Sequence[int]) -> tuple[str, int | None, list[int]]:
    """The first method that fits, its horizon, and who is measured by it: all, or at the last method a sample.

    A horizon is worth its error only where it halves the price; short completions are sampled and measured exactly.
    """
    targets, everyone = prices.targets, list(range(len(prices.targets)))
    exact = prices.of(targets, None)
    if exact <= allowance:
        return "exact", None, everyone
    coarse = [replace(target, spans=tuple(hulls(target.spans))) for target in targets]
    if prices.of(coarse, None) + exact / 2 <= allowance:  # if half of the stretches are split
        return "coarse", None, everyone
    can_resume = prices.packs and prices.settings.intervention != "delete"
    worthwhile = [h for h in HORIZONS if can_resume and prices.of(targets, h) <= exact / 2]
    for horizon in worthwhile:
        if prices.of(targets, horizon) <= allowance:
            return method_name(horizon), horizon, everyone
    last = min(worthwhile, default=None)
    order = sorted(everyone, key=lambda i: lots[i])
    spent = list(accumulate(prices.one_by_one([targets[i] for i in order], last)))
    chosen = [i for i, total in zip(order, spent, strict=True) if total <= allowance]
    if not chosen and order and lots[order[0]] * len(order) * spent[0] <= allowance * LOTS:
        chosen = order[:1]  # one alone is more than the allowance: now and then
    return method_name(last), last, sorted(chosen)


def hulls(spans: Sequence[Range]) -> list[Range]:
    """Stretches of about as many neighbouring spans as there are stretches."""
    size = math.isqrt(max(len(spans) - 1, 0)) + 1
    return [(spans[i][0], spans[min(i + size, len(spans)) - 1][1]) for i in range(0, len(spans), size)]


def _coarse_to_fine(
    model: Any,
    targets: Sequence[Target],
    settings: BudgetSettings,
    replacement: Sequence[int],
    allowance: float,
    prices: Prices,
) -> list[Measured]:
    """Mask stretches first, then one by one the spans of those that matter, the largest drops first.

    The spans of a stretch that was not split share its drop by their tokens.
    """
    stretches = [hulls(target.spans) for target in targets]
    coarse = [replace(target, spans=tuple(found)) for target, found in zip(targets, stretches, strict=True)]
    measured = measure(model, coarse, settings, replacement, None)
    left = allowance - sum(one.cost.tokens for one in measured)
    order = sorted(((drop, i, g) for i, one in enumerate(measured) for g, drop in enumerate(one.drops_K)), reverse=True)
    split: dict[int, list[Range]] = {}
    for drop, i, g in order:
        inside = [span for span in targets[i].spans if _inside(span, stretches[i][g])]
        if drop <= settings.noise_floor or len(inside) == 1:
            continue
        context = 0 if i in split else len(targets[i].clean.input_ids)
        left -= context + prices.branches(Target(targets[i].clean, tuple(inside)), None)
        if left < 0:
            break
        split[i] = sorted([*split.get(i, []), *inside])
    again = measure(model, [Target(targets[i].clean, tuple(split[i])) for i in split], settings, replacement, None)
    fine = {i: (dict(zip(split[i], one.drops_K, strict=True)), one.cost) for i, one in zip(split, again, strict=True)}
    results = []
    for i, (target, one) in enumerate(zip(targets, measured, strict=True)):
        known, cost = fine.get(i, ({}, None))
        drops_K = tuple(
            known[span] if span in known else _share(span, target, stretches[i], one.drops_K) for span in target.spans
        )
        results.append(replace(one, drops_K=drops_K, cost=one.cost if cost is None else one.cost + cost))
    return results


def _inside(span: Range, stretch: Range) -> bool:
    return stretch[0] <= span[0] and span[1] <= stretch[1]


def _share(span: Range, target: Target, stretches: Sequence[Range], drops: Sequence[float]) -> float:
    stretch, drop = next(pair for pair in zip(stretches, drops, strict=True) if _inside(span, pair[0]))
    tokens = sum(end - start for start, end in target.spans if _inside((start, end), stretch))
    return drop * (span[1] - span[0]) / tokens


def _check(
    model: Any, target: Target, result: Measurement, settings: BudgetSettings, replacement: Sequence[int]
) -> Measurement:
    assert result.measured is not None
    (exact,) = measure(model, [target], settings, replacement, None)
    agreement = rank_correlation(result.measured.drops_K, exact.drops_K)
    cost = result.measured.cost + exact.cost
    return replace(result, measured=replace(result.measured, cost=cost), agreement=agreement)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's; None where there are fewer than three spans or all have the same drop."""
    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)


def _second_lot(lot: int) -> int:
    """A lot that does not depend on how high the first one is."""
    return lot * 2654435761 % LOTS
