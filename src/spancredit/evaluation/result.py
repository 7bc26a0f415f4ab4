"""What the rows of an evaluation add up to, and two evaluations of the same problems compared in pairs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from statistics import mean
from typing import Any

import numpy as np
from scipy.stats import binomtest, ttest_1samp

from spancredit.errors import ConfigError, RunFolderError
from spancredit.evaluation.accuracy import Accuracy

Row = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """A mean over problems with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1%} (95 % interval {self.low:.1%} to {self.high:.1%})"


def greedy(row: Row) -> float:
    return float(row["greedy"]["right"])


def sampled(row: Row) -> float:
    """Share of the samples that are right."""
    return mean(one["right"] for one in row["samples"])


def majority(row: Row) -> float:
    """Whether the answer that most samples give is right (maj@k); the first of those that tie counts."""
    votes = Counter(one["read"] for one in row["samples"] if one["read"] is not None)
    if not votes:
        return 0.0
    ((winner, _),) = votes.most_common(1)
    return float(next(one["right"] for one in row["samples"] if one["read"] == winner))


def pass_at(row: Row, k: int) -> float:
    """pass@k, unbiased: the probability that one of `k` of the samples is right, drawn without return."""
    count, wrong = len(row["samples"]), sum(not one["right"] for one in row["samples"])
    return 1.0 - comb(wrong, k) / comb(count, k)


BY: dict[str, Callable[[Row], float]] = {"greedy": greedy, "majority": majority, "sampled": sampled}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Accuracies with 95 % intervals (Wilson's; for the mean over samples Student's, over problems), and what failed.

    Programs have no answers to vote by, so that they get no `majority`, but `pass_at`: pass@k for each k up to the
    number of samples.

    Shares of completions: `truncated` by the limit on tokens; `unread`, without an answer; of programs `statuses`.
    """
    found: dict[str, Any] = {"problems": len(rows), "samples": len(rows[0]["samples"])}
    programs = not votes_on(rows[0])
    for name, value in BY.items():
        if name == "greedy" or (found["samples"] and not (programs and name == "majority")):
            found[name] = asdict(share([value(row) for row in rows]))
    completions = [one for row in rows for one in (row["greedy"], *row["samples"])]
    found["truncated"] = mean(one["truncated"] for one in completions)
    if programs:
        ks = range(1, found["samples"] + 1)
        found["pass_at"] = {str(k): asdict(share([pass_at(row, k) for row in rows])) for k in ks}
        counts = Counter(one["status"] for one in completions)
        found["statuses"] = {status: count / len(completions) for status, count in counts.most_common()}
    else:
        found["unread"] = mean(one["read"] is None for one in completions)
    return found


def votes_on(row: Row) -> bool:
    """Whether completions give answers, which can be counted."""
    return all("read" in one for one in (row["greedy"], *row["samples"]))


def share(values: Sequence[float]) -> Share:
    if set(values) <= {0.0, 1.0}:
        accuracy = Accuracy(int(sum(values)), len(values))
        return Share(accuracy.mean, *accuracy.interval)
    return Share(mean(values), *_student(values))


@dataclass(frozen=True)
class Paired:
    """One evaluation against another on the same problems.

    Args:
        difference: Of the accuracies, second minus first, with Student's 95 % interval over the problems.
        p: Of no difference: McNemar's exact test where problems are right or wrong, else Student's, in pairs.
        only_first, only_second: Problems that only one of the two has right, or more often right.
    """

    difference: Share
    p: float
    only_first: int
    only_second: int


def paired(first: Sequence[Row], second: Sequence[Row], by: str) -> Paired:
    """Compare `greedy`, `majority` or `sampled` accuracy, problem by problem.

    Raises:
        ConfigError: if one of them has no samples to compare, or no answers to vote by.
        RunFolderError: if they have not as many problems, one at least.
    """
    if not first or len(first) != len(second):
        raise RunFolderError(f"cannot compare {len(first)} problems with {len(second)}; expected as many, at least 1.")
    if by != "greedy" and not all(row["samples"] for row in (*first, *second)):
        raise ConfigError(f"cannot compare by {by!r}: an evaluation has no samples; expected 'greedy'.")
    if by == "majority" and not all(map(votes_on, (*first, *second))):
        raise ConfigError("cannot compare by 'majority': programs have no answers to vote by; expected 'sampled'.")
    values = [(BY[by](one), BY[by](other)) for one, other in zip(first, second, strict=True)]
    differences = [after - before for before, after in values]
    worse, better = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    if all(d in (-1.0, 0.0, 1.0) for d in differences):
        p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    else:
        p = float(ttest_1samp(differences, 0.0).pvalue)
    return Paired(Share(mean(differences), *_student(differences)), p, worse, better)


def _student(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2 or np.ptp(values) == 0:
        return values[0], values[0]
    interval = ttest_1samp(values, 0.0).confidence_interval()
    return float(interval.low), float(interval.high)
