"""Pictures of a study."""

from collections import defaultdict
from statistics import mean

from matplotlib.figure import Figure

from spancredit.report.figures import PALETTE, plain
from spancredit.study.results import ArmResult, Comparison
from spancredit.study.statistics import spread

MARKERS = "osD^vP*X"


def learning_curves(comparison: Comparison) -> Figure:
    """Held-out accuracy over steps by arm, the mean and one standard deviation over seeds (the paper's Figure 1)."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, arm in enumerate(comparison.arms):
        if not arm.seeds:
            continue
        points: dict[int, list[float]] = defaultdict(list)
        for curve in arm.curves:
            for row in curve:
                points[row["step"]].append(100 * row["accuracy"])
        steps = sorted(points)
        middles, deviations = zip(*(spread(points[step]) for step in steps), strict=True)
        low, high = ([m + sign * d for m, d in zip(middles, deviations, strict=True)] for sign in (-1, 1))
        colour = PALETTE[i % len(PALETTE)]
        axes.plot(steps, middles, color=colour, label=_label(arm), marker=MARKERS[i % len(MARKERS)], markersize=4)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("held-out accuracy, greedy (%)")
    axes.legend(frameon=False)
    plain(axes)
    return figure


def accuracies(comparison: Comparison) -> Figure:
    """Accuracy at the end by arm: a point and a thin line a seed, a bar for the mean."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    done = [arm for arm in comparison.arms if arm.seeds]
    for seed in sorted({seed for arm in done for seed in arm.seeds}):
        points = [(x, arm.accuracies[arm.seeds.index(seed)]) for x, arm in enumerate(done) if seed in arm.seeds]
        axes.plot([x for x, _ in points], [100 * y for _, y in points], color="#999999", linewidth=0.7, zorder=1)
    for x, arm in enumerate(done):
        colour = PALETTE[x % len(PALETTE)]
        values = [100 * value for value in arm.accuracies]
        axes.scatter([x] * len(values), values, color=colour, s=18, zorder=2)
        axes.hlines(mean(values), x - 0.25, x + 0.25, color=colour, linewidth=2.5, zorder=3)
    axes.set_xticks(range(len(done)), [_label(arm) for arm in done])
    axes.set_ylabel("held-out accuracy, greedy (%)")
    plain(axes)
    return figure


def _label(arm: ArmResult) -> str:
    return f"{arm.arm} ({len(arm.seeds)} seeds)"
