"""Statistics on signals: for each completion a list with one number for each span. Plain numpy and scipy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

Signal = Sequence[Sequence[float]]  # completions x spans
RESAMPLES = 2000


def spearman(signal: Sequence[float], reference: Sequence[float]) -> float:
    """Rank correlation, ties at their mean rank. NaN where the reference has no order, 0 where the signal has none."""
    return pearson(rankdata(signal), rankdata(reference))


def pearson(signal: Sequence[float], reference: Sequence[float]) -> float:
    """Linear correlation. NaN where the reference is constant, 0 where the signal alone is."""
    x, y = np.asarray(signal, float), np.asarray(reference, float)
    if np.ptp(y) == 0:
        return float("nan")
    return 0.0 if np.ptp(x) == 0 else float(np.corrcoef(x, y)[0, 1])


def kendall(signal: Sequence[float], reference: Sequence[float]) -> float:
    """Kendall's tau-b, with the same conventions."""
    if np.ptp(reference) == 0:
        return float("nan")
    return 0.0 if np.ptp(signal) == 0 else float(kendalltau(signal, reference).statistic)


def top_overlap(signal: Sequence[float], reference: Sequence[float], k: int) -> float:
    """Share of the signal's `k` largest that are among the reference's `k` largest, or tied with these.

    NaN where k is all or more, or the reference is constant. Ties in the signal count as a random choice would.
    """
    if k >= len(reference) or np.ptp(reference) == 0:
        return float("nan")
    x, y = np.asarray(signal, float), np.asarray(reference, float)
    least = np.sort(x)[-k]
    above, tied = x > least, x == least
    chosen = above + tied * (k - above.sum()) / tied.sum()
    return float(np.sum(chosen * (y >= np.sort(y)[-k])) / k)


def curve_area(curve: Sequence[float]) -> float:
    """Mean fall below the first value (nothing removed) over the removals that follow it."""
    return float(curve[0] - np.mean(curve[1:]))


def mean_interval(values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Mean over completions with a 95 % bootstrap interval; NaNs are left out, and `count` says how many are not."""
    x = np.asarray(values, float)
    x = x[~np.isnan(x)]
    return _interval(lambda chosen: x[chosen].mean(axis=-1), len(x), seed)


def pooled_mean(values: Signal, seed: int = 0) -> dict[str, float]:
    """Mean over the spans of all completions; the bootstrap draws completions."""
    sums = np.array([[np.sum(row), len(row)] for row in values], float).reshape(-1, 2)
    return _interval(lambda chosen: _ratio(sums[chosen].sum(axis=-2)), len(sums), seed)


def _ratio(sums: np.ndarray) -> Any:
    return sums[..., 0] / np.maximum(sums[..., 1], 1e-300)


def pooled_pearson(signal: Signal, reference: Signal, seed: int = 0) -> dict[str, float]:
    """Linear correlation over the spans of all completions; the bootstrap draws completions."""
    sums = np.array([_sums(x, y) for x, y in zip(signal, reference, strict=True)])
    return _interval(lambda chosen: _correlation(sums[chosen].sum(axis=-2)), len(sums), seed)


def pearson_difference(signal: Signal, other: Signal, reference: Signal, seed: int = 0) -> dict[str, float]:
    """Pooled correlation of `signal` with the reference, minus that of `other`; the bootstrap draws both alike."""
    first = np.array([_sums(x, y) for x, y in zip(signal, reference, strict=True)])
    second = np.array([_sums(x, y) for x, y in zip(other, reference, strict=True)])

    def difference(chosen: np.ndarray) -> Any:
        return _correlation(first[chosen].sum(axis=-2)) - _correlation(second[chosen].sum(axis=-2))

    return _interval(difference, len(first), seed)


def _sums(signal: Sequence[float], reference: Sequence[float]) -> list[float]:
    x, y = np.asarray(signal, float), np.asarray(reference, float)
    return [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]


def _correlation(sums: np.ndarray) -> Any:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (xx - x * x / n) * (yy - y * y / n)
    return (xy - x * y / n) / np.sqrt(np.maximum(spread, 1e-300))


def normalised_area(area: Sequence[float], exact: Sequence[float], random: Sequence[float]) -> dict[str, float]:
    """Mean area between a deletion curve and its start: 0 for a random order, 1 for the exact signal's."""
    table = np.array([area, exact, random], float).T

    def share(chosen: np.ndarray) -> Any:
        mean = table[chosen].mean(axis=-2)
        return (mean[..., 0] - mean[..., 2]) / (mean[..., 1] - mean[..., 2])

    return _interval(share, len(table), 0)


def _interval(statistic: Callable[[np.ndarray], Any], count: int, seed: int) -> dict[str, float]:
    """A statistic of completions, given as indices along the last axis, and its bootstrap interval."""
    if not count:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "count": 0}
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    low, high = np.nanpercentile(statistic(drawn), [2.5, 97.5])
    found = {"value": statistic(np.arange(count)), "low": low, "high": high}
    return {name: round(float(number), 4) for name, number in found.items()} | {"count": count}


def ceiling(half_correlation: float) -> float:
    """The highest correlation that a perfect signal can have with a noisy reference.

    Args:
        half_correlation: Between two halves of the reference's measurements. Spearman-Brown gives the reliability of
            the whole, and its root is the bound.
    """
    half = max(half_correlation, 0.0)
    return float(np.sqrt(2 * half / (1 + half)))
