"""Pictures of a study."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spancredit.report.figures import PALETTE, literal, plain
from spancredit.report.means import drop_keys, mean_of
from spancredit.study.results import ArmResult, Comparison
from spancredit.study.statistics import mean_and_deviation, median_steps

MARKERS = "osD^vP*X"
PHASES = {"generation": "generation/seconds", "credit": "credit/seconds", "steps": "step_advantages/seconds"}
REST = "loss and update"
Metrics = Mapping[str, Sequence[dict[str, Any]]]  # of all runs of an arm, one row a logged step


def learning_curves(comparison: Comparison) -> Figure:
    """Held-out accuracy over steps by arm, the mean and one standard deviation over seeds (the paper's Figure 1)."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    colours = _colours([arm.arm for arm in comparison.arms])
    for i, arm in enumerate(comparison.arms):
        if not arm.seeds:
            continue
        points: dict[int, list[float]] = defaultdict(list)
        for curve in arm.curves:
            for row in curve:
                points[row["step"]].append(100 * row["accuracy"])
        steps = sorted(points)
        middles, deviations = zip(*(mean_and_deviation(points[step]) for step in steps), strict=True)
        low, high = ([m + sign * d for m, d in zip(middles, deviations, strict=True)] for sign in (-1, 1))
        colour = colours[arm.arm]
        axes.plot(
            steps, middles, color=colour, label=literal(_label(arm)), marker=MARKERS[i % len(MARKERS)], markersize=4
        )
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"held-out accuracy, {comparison.measure} (%)")
    axes.legend(frameon=False)
    plain(axes)
    return figure


def accuracies(comparison: Comparison) -> Figure:
    """Accuracy at the end by arm: a point and a thin line a seed, a bar for the mean."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    done = [arm for arm in comparison.arms if arm.seeds]
    colours = _colours([arm.arm for arm in comparison.arms])
    for seed in sorted({seed for arm in done for seed in arm.seeds}):
        points = [(x, arm.accuracies[arm.seeds.index(seed)]) for x, arm in enumerate(done) if seed in arm.seeds]
        axes.plot([x for x, _ in points], [100 * y for _, y in points], color="#999999", linewidth=0.7, zorder=1)
    for x, arm in enumerate(done):
        colour = colours[arm.arm]
        values = [100 * value for value in arm.accuracies]
        axes.scatter([x] * len(values), values, color=colour, s=18, zorder=2)
        axes.hlines(mean(values), x - 0.25, x + 0.25, color=colour, linewidth=2.5, zorder=3)
    _name_places(axes, [_label(arm) for arm in done], 70)
    axes.set_ylabel(f"held-out accuracy, {comparison.measure} (%)")
    plain(axes)
    return figure


def convergence(comparison: Comparison) -> Figure:
    """Steps to nine tenths of what the arms gain on a seed, a point a seed and a bar for the median; crosses: never.

    Between two evaluations along a straight line.
    """
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    done = [arm for arm in comparison.arms if arm.seeds]
    colours = _colours([arm.arm for arm in comparison.arms])
    never = 1.05 * max((row["step"] for arm in done for curve in arm.curves for row in curve), default=0)
    for x, arm in enumerate(done):
        colour = colours[arm.arm]
        reached = [steps for steps in arm.steps if steps is not None]
        axes.scatter([x] * len(reached), reached, color=colour, s=18)
        middle = median_steps(arm.steps)
        if middle is not None:
            axes.hlines(middle, x - 0.25, x + 0.25, color=colour, linewidth=2.5)
        for i in range(len(arm.steps) - len(reached)):
            axes.scatter([x + 0.06 * i], [never], color=colour, marker="x", s=24)
    _name_places(axes, [arm.arm for arm in done], 70)
    axes.set_ylabel("optimizer steps")
    axes.set_ylim(bottom=0)
    plain(axes)
    return figure


def importance(metrics: Metrics) -> Figure:
    """Mean drop of the answer and share of the weight by kind of span, over all steps, by arm."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    drops, shares = figure.subplots(1, 2)
    arms = {arm: rows for arm, rows in metrics.items() if drop_keys(list(rows))}
    kinds = sorted({key.rpartition("/")[2] for rows in arms.values() for key in drop_keys(list(rows))})
    width, colours = 0.8 / max(1, len(arms)), _colours(list(metrics))
    for axes, prefix in ((drops, "credit/drop/"), (shares, "credit/weight_share/")):
        for i, (arm, rows) in enumerate(arms.items()):
            heights = [math.nan if (value := mean_of(rows, prefix + kind)) is None else value for kind in kinds]
            places = [x + (i - (len(arms) - 1) / 2) * width for x in range(len(kinds))]
            axes.bar(places, heights, width, color=colours[arm], label=literal(arm))
        _name_places(axes, [kind.removeprefix("code:") for kind in kinds], 30)
        plain(axes)
    drops.set_ylabel("mean drop (nats, tests, or a proxy's score)")
    shares.set_ylabel("share of the weight")
    if arms:
        figure.legend(*shares.get_legend_handles_labels(), frameon=False, ncols=len(arms), loc="outside upper center")
    return figure


def phases(metrics: Metrics) -> Figure:
    """Where an optimizer step's seconds go, by arm: means over the steps."""
    figure = Figure(figsize=(7, 0.9 + 0.42 * len(metrics)), layout="constrained")
    axes = figure.subplots()
    timed = {arm: _seconds(rows) for arm, rows in metrics.items()}
    seconds = {arm: one for arm, one in timed.items() if one is not None}
    left = [0.0] * len(seconds)
    for i, phase in enumerate((*PHASES, REST)):
        if not any(one[phase] for one in seconds.values()):
            continue
        widths = [one[phase] for one in seconds.values()]
        axes.barh(range(len(widths)), widths, left=left, color=PALETTE[i], label=phase)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(seconds)), list(map(literal, seconds)))
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a step")
    if seconds:
        axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    plain(axes)
    return figure


def _seconds(rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Means over the steps, since a generation can serve several; None for runs that timed none."""
    timed = [row for row in rows if row.get("step_time") and row.get("generation/seconds") is not None]
    if not timed:
        return None
    step, *parts = (mean(row.get(key) or 0.0 for row in timed) for key in ("step_time", *PHASES.values()))
    return {**dict(zip(PHASES, parts, strict=True)), REST: max(0.0, step - sum(parts))}


def _colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour an arm, the same in every picture."""
    return {arm: PALETTE[i % len(PALETTE)] for i, arm in enumerate(arms)}


def _name_places(axes: Any, names: Sequence[str], room: int) -> None:
    """Names under the places 0, 1, ...: slanted where they would run into each other on so many characters."""
    slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    how = slanted if len(names) * max(map(len, names), default=0) > room else {}
    axes.set_xticks(range(len(names)), [literal(name) for name in names], **how)


def _label(arm: ArmResult) -> str:
    return f"{arm.arm} ({len(arm.seeds)} seeds)"
