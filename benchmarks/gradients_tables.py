"""What a list of gradients says: cosines by rule, progress and noise by role, mass by kind; and the pictures of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from spancredit.report.figures import PALETTE, plain

DASHES = ("-", "--", ":")


def progress(found: Sequence[Mapping[str, torch.Tensor]], tokens: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """For each role its share of the tokens, of the inner product of uniform gradients with those of other batches,
    and of the variance of uniform gradients (its covariance with the whole)."""
    total = sum(one["uniform"] for one in found)
    whole = sum(float(one["uniform"] @ (total - one["uniform"])) for one in found)
    middle = total / len(found)
    own = {role: sum(one[role] for one in found) / len(found) for role in tokens}
    noise = {role: sum(float((one[role] - own[role]) @ (one["uniform"] - middle)) for one in found) for role in tokens}
    variance = sum(float((one["uniform"] - middle).square().sum()) for one in found)
    return {
        role: {
            "tokens": count / sum(tokens.values()),
            "progress": sum(float(one[role] @ (total - one["uniform"])) for one in found) / whole,
            "noise": noise[role] / variance,
        }
        for role, count in tokens.items()
    }


def lorenz(spans: Sequence[Mapping[str, Any]], points: int = 20) -> dict[str, list[float]]:
    """By rule the share of the gradient mass in the smallest spans: at 0, 1/points, ... 1 of the spans."""
    found = {}
    for name in spans[0]["norms"]:
        values = np.sort([span["norms"][name] for span in spans])
        sums = np.concatenate([[0.0], np.cumsum(values)]) / values.sum()
        found[name] = np.interp(np.linspace(0, 1, points + 1), np.linspace(0, 1, len(sums)), sums).tolist()
    return found


def by_kind(spans: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By rule the share of the gradient mass in each kind of span."""
    kinds = sorted({span["kind"] for span in spans})
    found = {}
    for name in spans[0]["norms"]:
        total = sum(span["norms"][name] for span in spans)
        found[name] = {k: sum(span["norms"][name] for span in spans if span["kind"] == k) / total for k in kinds}
    return found


def picture(report: Mapping[str, Any]) -> Figure:
    """Lorenz curves of gradient mass over spans, and progress and noise by role."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, curve) in enumerate(report["lorenz"].items()):
        left.plot(
            np.linspace(0, 1, len(curve)),
            curve,
            color=PALETTE[i % len(PALETTE)],
            label=name,
            linestyle=DASHES[i // len(PALETTE)],
        )
    left.plot([0, 1], [0, 1], color="#999999", linewidth=0.7)
    left.set_xlabel("share of the spans, smallest gradient first")
    left.set_ylabel("share of the gradient mass")
    left.legend(frameon=False, fontsize=8)
    roles = [role for role, row in report["roles"].items() if row["tokens"] > 0.01]
    for shift, key, colour in ((-0.2, "progress", PALETTE[0]), (0.2, "noise", PALETTE[1])):
        places = [y + shift for y in range(len(roles))]
        right.barh(places, [report["roles"][role][key] for role in roles], 0.4, color=colour, label=key)
    right.set_yticks(range(len(roles)), roles)
    right.invert_yaxis()
    right.set_xlabel("share, uniform credit")
    right.legend(frameon=False)
    plain(left)
    plain(right)
    return figure
