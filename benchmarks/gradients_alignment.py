"""How the gradients of a rule lie to the mean uniform gradient of other batches, with intervals by the jackknife.

cosine   what a step of fixed length gains
adam     the same after each coordinate is divided by its root mean square under the rule, as Adam takes it

The mean of the other batches is itself noisy, so even a batch without noise would not reach 1, and values of different
numbers of batches are not comparable.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import torch
from scipy.stats import t

MEASURES = ("cosine", "adam")
ADAM_EPSILON = 1e-8  # as the optimizer's
Found = Sequence[Mapping[str, torch.Tensor]]  # for each batch the gradient of each rule


def alignment(found: Found) -> dict[str, dict[str, Any]]:
    """For each rule both measures, and their differences to uniform with 95 % intervals; and the mean norm."""
    whole = _measured(found)
    without = [_measured([*found[:i], *found[i + 1 :]]) for i in range(len(found))]
    return {
        rule: {
            **{
                measure: {
                    "value": whole[rule][measure],
                    "against_uniform": None if rule == "uniform" else _against_uniform(whole, without, rule, measure),
                }
                for measure in MEASURES
            },
            "norm": mean(float(one[rule].norm()) for one in found),
        }
        for rule in found[0]
    }


def _measured(found: Found) -> dict[str, dict[str, float]]:
    total = sum(one["uniform"] for one in found)
    return {
        rule: {
            "cosine": mean(_cosine(one[rule], total - one["uniform"]) for one in found),
            "adam": mean(_adam(found, i, rule) for i in range(len(found))),
        }
        for rule in found[0]
    }


def _adam(found: Found, i: int, rule: str) -> float:
    """Direction and scale are of different batches, so that no rule gains by having made the direction itself."""
    others = [*found[:i], *found[i + 1 :]]
    squares = [one[rule].square() for one in (found[i], *others[1::2])]
    scale = torch.stack(squares).mean(0).sqrt() + ADAM_EPSILON
    return _cosine(found[i][rule] / scale, sum(one["uniform"] for one in others[::2]))


def _cosine(one: torch.Tensor, other: Any) -> float:
    return float(torch.cosine_similarity(one, other, dim=0))


def _against_uniform(
    whole: Mapping[str, Mapping[str, float]], without: Sequence[Mapping[str, Any]], rule: str, measure: str
) -> tuple[float, float, float]:
    """The difference and its interval: batches are in each other's directions, so their values are no independent ones.

    The standard error is that of the jackknife, which leaves out one batch everywhere it stands.
    """
    difference = whole[rule][measure] - whole["uniform"][measure]
    each = np.array([one[rule][measure] - one["uniform"][measure] for one in without])
    count = len(each)
    reach = t.ppf(0.975, count - 1) * np.sqrt((count - 1) / count * np.square(each - each.mean()).sum())
    return difference, float(difference - reach), float(difference + reach)
