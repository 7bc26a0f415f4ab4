"""A study in the terminal: what is done and left while it runs, and its results."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spancredit.study.folder import StudyFolder
from spancredit.study.plan import OTHER, Run
from spancredit.study.results import ArmResult, Comparison
from spancredit.study.statistics import FEWEST, FLIPS, POWER, Difference, mean_and_deviation, median_steps


def progress(study: StudyFolder, runs: Sequence[Run], working: Mapping[Run, Any], failed: Mapping[Run, str]) -> Table:
    """One row an arm and rate, one column a seed: accuracy of what is done, steps of what is at work."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    done = sum(study.done(run) for run in runs)
    table = Table(box=None, pad_edge=False, title=f"{done} of {len(runs)} runs done", title_justify="left")
    table.add_column("arm", style="bold")
    table.add_column("learning rate", justify="right")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right")
    for arm, rate in dict.fromkeys((run.arm, run.rate) for run in runs):
        cells = [_cell(study, Run(arm, rate, seed), runs, working, failed) for seed in seeds]
        table.add_row(Text(arm), f"{rate:g}", *cells)
    return table


def _cell(
    study: StudyFolder, run: Run, runs: Sequence[Run], working: Mapping[Run, Any], failed: Mapping[Run, str]
) -> str:
    if run not in runs:
        return ""
    if run in failed:
        return "[red]failed[/red]"
    reached = study.accuracy(run)
    if reached is not None:
        return f"{reached:.1%}"
    if run not in working:
        return "[dim]waiting[/dim]"
    rows = study.of(run).rows(study.of(run).metrics)
    return f"[cyan]step {rows[-1]['step'] if rows else 0}[/cyan]"


NOTES = (
    "gain: in points over {reference}, paired by seed; steps: median, to nine tenths of what the arms gain on a seed; "
    "above and below: at 5 %, t-tests corrected for the number of arms (Holm)"
)
COLUMNS = ("arm", "rate", "accuracy (sd)", "gain", "95 % interval", "p", "steps", "credit")


def headline(comparison: Comparison) -> Group:
    """Accuracy by arm, its paired difference to the reference in points with Student's interval, and what it says."""
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=f"Held-out accuracy, {comparison.measure}, {comparison.name}",
        title_justify="left",
    )
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=True)
    for arm in comparison.arms:
        name, *values = _row(arm, comparison.differences.get(arm.arm))
        table.add_row(Text(name), *values)
    words = [Text(f"{arm.arm}: {verdict(comparison, arm)}") for arm in comparison.arms]
    other = OTHER[comparison.measure]
    words += [Text(f"{arm.arm}, {other}: {by_other(comparison, arm)}") for arm in comparison.arms if arm.others]
    return Group(table, Text(NOTES.format(reference=comparison.reference), style="dim"), *words)


def _row(arm: ArmResult, difference: Difference | None) -> list[str]:
    if not arm.seeds:
        return [arm.arm, f"{arm.rate:g}", *["-"] * (len(COLUMNS) - 2)]
    against = ["-"] * 3
    if difference is not None:
        against = [f"{100 * difference.mean:+.1f}", points(difference.student), f"{difference.p:.3f}"]
    return [arm.arm, f"{arm.rate:g}", accuracy(arm.accuracies), *against, steps_reached(arm), f"{arm.share:.0%}"]


def accuracy(values: Sequence[float]) -> str:
    """Mean over the seeds, and the standard deviation in points."""
    middle, deviation = mean_and_deviation(values)
    return f"{middle:.1%} ({100 * deviation:.1f})"


def by_other(comparison: Comparison, arm: ArmResult) -> str:
    """Accuracy by the measure that is not the study's, and what it gains over the reference."""
    difference = comparison.others.get(arm.arm)
    gain = f", gain {100 * difference.mean:+.1f} ({points(difference.student)})" if difference else ""
    return f"{accuracy(arm.others)}{gain}" if arm.others else ""


def points(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def steps_reached(arm: ArmResult) -> str:
    """Median steps to the target, and how many runs do not get there, which count as later than all."""
    if not arm.steps:
        return "-"
    middle, left = median_steps(arm.steps), arm.steps.count(None)
    return ("never" if middle is None else f"{middle:.0f}") + (f" ({left} not)" if left else "")


def verdict(comparison: Comparison, arm: ArmResult) -> str:
    """What may be said of an arm, on how many seeds, and what as many could show."""
    difference, visible = comparison.differences.get(arm.arm), comparison.visible.get(arm.arm)
    missing = len(comparison.seeds) - len(arm.seeds)
    left = f", {missing} of {len(comparison.seeds)} seeds missing" if missing else ""
    if arm.arm == comparison.reference:
        return f"the reference, {len(arm.seeds)} seeds{left}"
    if difference is None:
        return f"{comparison.verdicts[arm.arm]}: two pairs of seeds are needed{left}"
    few = f", fewer than {FEWEST}" if len(difference.values) < FEWEST else ""
    power = "" if visible is None else f"; as many show {_points_seen(visible)} with power {POWER}"
    flips = f", of {FLIPS} sampled flips" if difference.sampled else ""
    least = f"; as many cannot show p below {difference.least_p:.2g}{flips}"
    return f"{comparison.verdicts[arm.arm]}, {len(difference.values)} pairs of seeds{few}{left}{power}{least}"


def _points_seen(visible: float) -> str:
    return f"{100 * visible:.1f} points" if visible <= 1 else "no difference that two accuracies can have"
