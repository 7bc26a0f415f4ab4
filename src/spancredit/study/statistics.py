"""What paired runs say: differences with intervals, an exact permutation test, and steps to reach an accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy import stats

FEWEST = 5  # seeds below which no conclusion is drawn
RESAMPLES = 9999
FLIPS = 2**16  # the test is exact up to 16 seeds


@dataclass(frozen=True)
class Difference:
    """Of two arms, paired by seed: `other - reference`.

    Args:
        values: One a seed.
        bootstrap: 95 % percentile interval of the mean over resampled seeds; too narrow for few seeds.
        student: 95 % interval by Student's t.
        p: Of the exact two-sided sign-flip permutation test; its least value is 2 / 2**n.
    """

    values: tuple[float, ...]
    bootstrap: tuple[float, float]
    student: tuple[float, float]
    p: float

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def least_p(self) -> float:
        return float(2.0 ** (1 - len(self.values)))

    @property
    def verdict(self) -> str:
        """What may be said."""
        low, high = self.student
        if len(self.values) < FEWEST:
            return "no conclusion"
        if low > 0 or high < 0:
            return "above" if low > 0 else "below"
        return "no difference shown"


def paired(reference: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two arms on the same seeds.

    Raises:
        ValueError: if they have not the same number of seeds, at least two.
    """
    if len(reference) != len(other) or len(other) < 2:
        raise ValueError(f"{len(reference)} and {len(other)} seeds cannot be paired; expected as many, at least 2.")
    values = np.asarray(other) - np.asarray(reference)
    if np.ptp(values) == 0:  # every resample is the same
        constant = float(values[0])
        spread = (constant, constant)
        return Difference(tuple(values.tolist()), spread, spread, _permutation(values))
    bootstrap = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0)
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return Difference(
        tuple(values.tolist()),
        (float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high)),
        (float(student.low), float(student.high)),
        _permutation(values),
    )


def _permutation(values: np.ndarray) -> float:
    test = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=FLIPS, rng=0)
    return float(test.pvalue)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (0 for a single value)."""
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def smallest_visible(values: Sequence[float], count: int, power: float = 0.8) -> float:
    """The true mean difference that a t-test at 5 % on `count` seeds sees with this power, given how these differ."""
    deviation = stdev(values)
    freedom = count - 1
    critical = stats.t.ppf(0.975, freedom)
    grid = np.linspace(0, 20, 4001)
    seen = stats.nct.sf(critical, freedom, grid)
    return float(grid[np.argmax(seen >= power)] * deviation / count**0.5)


def steps_to(curve: Sequence[dict[str, Any]], accuracy: float) -> float | None:
    """Steps until held-out accuracy first reaches this, between two evaluations by a straight line; None: never."""
    before: dict[str, Any] | None = None
    for row in curve:
        if row["accuracy"] >= accuracy:
            if before is None or row["accuracy"] == before["accuracy"]:
                return float(row["step"])
            share = (accuracy - before["accuracy"]) / (row["accuracy"] - before["accuracy"])
            return float(before["step"] + share * (row["step"] - before["step"]))
        before = row
    return None
