"""What paired runs say: differences with intervals, a permutation test, and steps to reach an accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

FEWEST = 5  # seeds below which no conclusion is drawn
RESAMPLES = 9999
FLIPS = 2**16  # of signs, at most: all there are up to 16 seeds
LEVEL = 0.05
POWER = 0.8
SAME = 1e-9  # differences that rounding alone tells apart


@dataclass(frozen=True)
class Difference:
    """Of two arms, paired by seed: `other - reference`.

    Args:
        values: One a seed.
        bootstrap: 95 % percentile interval of the mean over resampled seeds; too narrow for few seeds.
        student: 95 % interval by Student's t.
        student_p: Of the two-sided t-test.
        p: Of the two-sided sign-flip permutation test: exact, or over a sample of the flips if there are too many.
    """

    values: tuple[float, ...]
    bootstrap: tuple[float, float]
    student: tuple[float, float]
    student_p: float
    p: float

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def sampled(self) -> bool:
        """Whether `p` is of a sample of the flips."""
        return 2 ** len(self.values) > FLIPS

    @property
    def least_p(self) -> float:
        """The least that `p` can be on as many seeds."""
        return max(2.0 ** (1 - len(self.values)), 2 / (FLIPS + 1))


def paired(reference: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two arms on the same seeds. Where all differ by the same, there is no spread for a t-test to judge by.

    Raises:
        ValueError: if they have not the same number of seeds, at least two.
    """
    if len(reference) != len(other) or len(other) < 2:
        raise ValueError(f"{len(reference)} and {len(other)} seeds cannot be paired; expected as many, at least 2.")
    values = np.asarray(other) - np.asarray(reference)
    p = _permutation(values)
    if np.ptp(values) < SAME:
        constant = (float(values.mean()), float(values.mean()))
        return Difference(tuple(values.tolist()), constant, constant, p, p)
    bootstrap = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0)
    test = stats.ttest_1samp(values, 0)
    student = test.confidence_interval(0.95)
    return Difference(
        tuple(values.tolist()),
        (float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high)),
        (float(student.low), float(student.high)),
        float(test.pvalue),
        p,
    )


def verdicts(differences: Mapping[str, Difference | None]) -> dict[str, str]:
    """What may be said of each arm: `above` or `below` at 5 % by t-tests that Holm corrects for the number of arms."""
    found = dict.fromkeys(differences, "no conclusion")
    enough = {arm: one for arm, one in differences.items() if one is not None and len(one.values) >= FEWEST}
    shown = True
    for rank, (arm, one) in enumerate(sorted(enough.items(), key=lambda pair: pair[1].student_p)):
        shown = shown and one.student_p * (len(enough) - rank) <= LEVEL
        found[arm] = ("above" if one.mean > 0 else "below") if shown else "no difference shown"
    return found


def _permutation(values: np.ndarray) -> float:
    test = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=FLIPS, rng=0)
    return float(test.pvalue)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (0 for a single value)."""
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def smallest_visible(values: Sequence[float], count: int, arms: int = 1) -> float | None:
    """The true mean difference that a t-test on `count` seeds sees with power 0.8, given how these differ.

    None where they do not differ. The test is at 5 % over the arms that are compared: what Holm asks of the first.
    """
    deviation = stdev(values)
    if deviation < SAME:
        return None
    freedom = count - 1
    critical = stats.t.ppf(1 - LEVEL / arms / 2, freedom)

    def beyond(shift: float) -> float:
        return float(stats.nct.sf(critical, freedom, shift)) - POWER

    most = 1.0
    while beyond(most) < 0:
        most *= 2
    return float(brentq(beyond, 0.0, most) * deviation / count**0.5)


def median_steps(steps: Sequence[float | None]) -> float | None:
    """The median, where those that never get there come last; None if that is never."""
    middle = median(np.inf if one is None else one for one in steps) if steps else np.inf
    return None if np.isinf(middle) else float(middle)


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
