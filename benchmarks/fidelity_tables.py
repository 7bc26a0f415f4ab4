"""The tables of the fidelity benchmark: signals against exact drops, and against the outcome.

Values are lists: completions x spans.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fidelity_samples import Sample, span_values
from fidelity_signals import CONTROLS, HORIZONS, INTERVENTIONS, PROXIES, Measured, horizon_name
from fidelity_stats import (
    ceiling,
    kendall,
    mean_interval,
    normalised_area,
    pearson_difference,
    pooled_mean,
    pooled_pearson,
    spearman,
    top_overlap,
)

from spancredit.config import CreditConfig
from spancredit.weighting import importances

SETTINGS = CreditConfig()
Values = Sequence[Sequence[float]]

# Who is in a group; what a span is held against there is in `_targets`.
GROUPS: dict[str, Any] = {
    "all": lambda sample: True,
    "right": lambda sample: sample.right,
    "wrong": lambda sample: not sample.right,
    "wrong, same answer": lambda sample: not sample.right,
}


def reference_signals(reference: str, signals: Mapping[str, Measured]) -> dict[str, Measured]:
    """What is compared with the exact drops of one intervention; itself comes first."""
    horizons = [horizon_name(reference, horizon) for horizon in HORIZONS] if reference != "delete" else []
    others = [name for name in INTERVENTIONS if name != reference]
    return {name: signals[name] for name in (reference, *horizons, *others, *PROXIES, *CONTROLS)}


def exact_table(
    reference: str, signals: Mapping[str, Measured], areas: Mapping[str, list[float]] | None
) -> dict[str, dict[str, Any]]:
    """Table A for one intervention: fidelity of each signal to its exact drops, and cost relative to them."""
    exact = signals[reference]
    table: dict[str, dict[str, Any]] = {}
    for name, signal in reference_signals(reference, signals).items():
        row = agreement(signal.values, exact.values)
        both_used = importance(signal.values), importance(exact.values)
        row["spearman, used"] = mean_interval(per_completion(spearman, *both_used))
        row["pearson, used"] = pooled_pearson(*both_used)
        row["kendall"] = mean_interval(per_completion(kendall, signal.values, exact.values))
        row["top 2"] = mean_interval(per_completion(top_overlap, signal.values, exact.values, 2))
        if areas is not None:
            row["deletion"] = normalised_area(areas[name], areas[reference], areas["random order"])
        table[name] = row | {"tokens": signal.tokens / exact.tokens}
    return table


def per_completion(statistic: Any, signal: Values, reference: Values, *more: Any) -> list[float]:
    return [statistic(x, y, *more) for x, y in zip(signal, reference, strict=True)]


def agreement(signal: Values, reference: Values) -> dict[str, Any]:
    """With the reference as it is; `used` is the signal as training uses it, scaled above the noise floor."""
    used = importance(signal)
    return {
        "spearman": mean_interval(per_completion(spearman, signal, reference)),
        "spearman, used": mean_interval(per_completion(spearman, used, reference)),
        "pearson": pooled_pearson(signal, reference),
        "pearson, used": pooled_pearson(used, reference),
        "top 1": mean_interval(per_completion(top_overlap, signal, reference, 1)),
    }


def importance(signal: Values) -> Values:
    return [list(importances(row, SETTINGS.noise_floor, SETTINGS.full_scale)) for row in signal]


def outcome_tables(
    samples: Sequence[Sample], signals: Mapping[str, Measured], found: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """Table B: agreement with the outcome, what noise allows, differences to pad, and values by role."""
    half = found[0][0].shape[1] // 2 if found else 0
    parts = {"whole": slice(None), "first": slice(half), "second": slice(half, None)}
    groups = {name: {part: _targets(samples, found, name, cut) for part, cut in parts.items()} for name in GROUPS}
    outcome: dict[str, Any] = {}
    noise: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for group, targets in groups.items():
        chosen = [i for i, sample in enumerate(samples) if GROUPS[group](sample)]
        whole = targets["whole"]
        picked = {name: [signal.values[i] for i in chosen] for name, signal in signals.items()}
        outcome[group] = {}
        for name, values in picked.items():
            absolute = [np.abs(row).tolist() for row in whole]
            row = agreement(values, whole)
            row["top 1 of |value|"] = mean_interval(per_completion(top_overlap, values, absolute, 1))
            outcome[group][name] = row
        halves = agreement(targets["first"], targets["second"])
        noise[group] = {f"{name}, halves": halves[name] for name in ("spearman", "pearson", "top 1")}
        noise[group] |= {f"{name}, ceiling": ceiling(halves[name]["value"]) for name in ("spearman", "pearson")}
        for name in (*INTERVENTIONS[1:], *PROXIES, *CONTROLS, *(horizon_name("pad", horizon) for horizon in HORIZONS)):
            for statistic, difference in less_pad(picked[name], picked["pad"], whole).items():
                differences.setdefault(statistic, {}).setdefault(name, {})[group] = difference
    tables = [right for right, _ in found]
    error = float(np.mean([np.sqrt(t.mean(1) * (1 - t.mean(1)) / (t.shape[1] - 1)).mean() for t in tables]))
    noise["V"] = {"mean standard error": error}
    return {
        "outcome": outcome,
        "noise": noise,
        "differences": differences,
        "largest": largest_table(samples, signals, _targets(samples, found, "all", slice(None))),
        **role_tables(samples, signals, tables),
    }


def _targets(samples: Sequence[Sample], found: Any, group: str, part: slice) -> Values:
    """For each completion of the group what its spans earned: the rise of V if it is right, the fall if it is wrong.

    `wrong, same answer`: the rise of the probability of the wrong answer that was sampled.
    """
    targets = []
    for sample, (right, same) in zip(samples, found, strict=True):
        if GROUPS[group](sample) and group == "wrong, same answer":
            targets.append(span_values(same, part).tolist())
        elif GROUPS[group](sample):
            targets.append((span_values(right, part) * (1 if sample.right else -1)).tolist())
    return targets


def less_pad(signal: Values, pad: Values, reference: Values) -> dict[str, Any]:
    """How much better a signal agrees with the reference than pad's drops do, completion by completion."""
    used, used_pad = importance(signal), importance(pad)
    ranks = {"spearman": (signal, pad), "spearman, used": (used, used_pad)}
    found: dict[str, Any] = {}
    for name, (ours, theirs) in ranks.items():
        pairs = zip(per_completion(spearman, ours, reference), per_completion(spearman, theirs, reference), strict=True)
        found[name] = mean_interval([a - b for a, b in pairs])
    return found | {"pearson, used": pearson_difference(used, used_pad, reference)}


def largest_table(
    samples: Sequence[Sample], signals: Mapping[str, Measured], targets: Values
) -> dict[str, dict[str, Any]]:
    """Where the largest number of a completion is: the share of completions by the place of that span.

    Completions with one calculation are left out. `value` is what a span earned: see `_targets`.
    """
    chosen = [i for i, sample in enumerate(samples) if sum(map(_calculates, sample.roles)) > 1]
    rows: dict[str, Values] = {name: signals[name].values for name in (*INTERVENTIONS, *PROXIES, "length")}
    rows |= {"value": targets, "|value|": [np.abs(row).tolist() for row in targets]}
    table: dict[str, dict[str, Any]] = {}
    for name, values in rows.items():
        found = [_place(samples[i].roles, int(np.argmax(values[i]))) for i in chosen]
        table[name] = {"completions": len(chosen)}
        table[name] |= {place: float(np.mean([other == place for other in found])) for place in PLACES}
    return table


PLACES = ("last calculation", "earlier calculation", "lead_in", "unit", "last_unit", "filler", "other")


def _place(roles: Sequence[str], span: int) -> str:
    if not _calculates(roles[span]):
        return roles[span]
    return "earlier calculation" if any(map(_calculates, roles[span + 1 :])) else "last calculation"


def _calculates(role: str) -> bool:
    return role in ("calculation", "wrong_calculation")


def role_tables(
    samples: Sequence[Sample], signals: Mapping[str, Measured], tables: Sequence[np.ndarray]
) -> dict[str, Any]:
    """By role of a span its value and the mean drop of each intervention; and how often that is above the floor."""
    values = [span_values(table).tolist() for table in tables]
    drops = {name: signals[name].values for name in INTERVENTIONS}
    means: dict[str, Any] = {}
    above: dict[str, Any] = {}
    for role in sorted({role for sample in samples for role in sample.roles}):

        def of_role(signal: Values, role: str = role) -> Values:
            pairs = zip(samples, signal, strict=True)
            return [[x for x, own in zip(row, sample.roles, strict=True) if own == role] for sample, row in pairs]

        count = sum(map(len, of_role(values)))
        means[role] = {"spans": count, "value": pooled_mean(of_role(values))}
        means[role]["mean |value|"] = float(np.mean(np.abs(np.concatenate(of_role(values)))))
        means[role] |= {name: pooled_mean(of_role(drop)) for name, drop in drops.items()}
        over = {name: [[float(x > SETTINGS.noise_floor) for x in row] for row in drop] for name, drop in drops.items()}
        above[role] = {"spans": count} | {name: pooled_mean(of_role(drop)) for name, drop in over.items()}
    return {"roles": means, "above floor": above}


def placebo_table(
    samples: Sequence[Sample], signals: Mapping[str, Measured], placebo: Mapping[str, list[float]]
) -> dict[str, dict[str, Any]]:
    """By intervention the drop where nothing should drop: in the question's last sentence, and in filler sentences."""
    roles = [role for sample in samples for role in sample.roles]
    table: dict[str, dict[str, Any]] = {}
    for name in INTERVENTIONS:
        drops = [drop for row in signals[name].values for drop in row]
        filler = [drop for drop, role in zip(drops, roles, strict=True) if role == "filler"]
        row: dict[str, Any] = {"tokens": signals[name].tokens / signals["pad"].tokens}
        for where, several in (("question", placebo[name]), ("filler", filler)):
            row[f"{where}: mean"] = float(np.mean(several)) if several else None
            row[f"{where}: 95th percentile"] = float(np.percentile(several, 95)) if several else None
            row[f"{where}: mean |drop|"] = float(np.mean(np.abs(several))) if several else None
        table[name] = row
    return table
