"""The results of a study: what each arm's runs came to, and each arm against the reference."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from spancredit.report.means import time_share
from spancredit.study.folder import StudyFolder
from spancredit.study.plan import MEASURES, OTHER, Run
from spancredit.study.statistics import Difference, paired, smallest_visible, steps_to, verdicts

REACH = 0.9  # of what the arms gain on a seed, all taken together
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ArmResult:
    """What an arm's runs at one rate came to.

    Args:
        seeds: Of the runs that are done.
        accuracies: Held-out accuracy at the end by the study's measure, one a seed.
        others: The same by the other measure, greedy or sampled; empty unless every run has it.
        curves: Accuracies over steps, one list of rows a seed.
        steps: Steps to nine tenths of what the arms gain on the same seed, on average; None where a run does not get
            there. Only seeds on which they gain.
        share: Credit's share of the training time of all runs.
    """

    arm: str
    rate: float
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    others: tuple[float, ...]
    curves: tuple[Rows, ...]
    steps: tuple[float | None, ...]
    share: float


@dataclass(frozen=True)
class Comparison:
    """All arms at their best rates, or at a common one.

    Args:
        measure: Of accuracy, `greedy` or `sampled`.
        seeds: That were planned.
        differences: To the reference over the seeds that both have; None with fewer than two.
        others: The same by the other measure.
        verdicts: What may be said of each arm but the reference.
        visible: The smallest true difference that as many seeds show with power 0.8, by the spread of these, among as
            many arms.
    """

    name: str
    measure: str
    reference: str
    seeds: tuple[int, ...]
    arms: tuple[ArmResult, ...]
    differences: dict[str, Difference | None]
    others: dict[str, Difference | None]
    verdicts: dict[str, str]
    visible: dict[str, float | None]

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**asdict(self), "differences": _plain(self.differences), "others": _plain(self.others)}


def _plain(differences: dict[str, Difference | None]) -> dict[str, Any]:
    return {
        arm: None if one is None else {**asdict(one), "mean": one.mean, "least_p": one.least_p}
        for arm, one in differences.items()
    }


def compare(study: StudyFolder) -> list[Comparison]:
    """Results of what is done so far: none before rates are chosen; the common rate only where it is not every best."""
    plan = study.plan
    tuned = study.accuracies(plan.tuning)
    if len(tuned) < len(plan.tuning):
        return []
    rates = plan.choose(tuned)
    common = dict.fromkeys(plan.arms, rates.common)
    if len(plan.rates) == 1:
        return [_comparison(f"learning rate {rates.common:g}", study, common)]
    found = [_comparison("each arm at its best learning rate", study, rates.best)]
    if common != rates.best:
        found.append(_comparison(f"every arm at learning rate {rates.common:g}", study, common))
    return found


def _comparison(name: str, study: StudyFolder, rates: dict[str, float]) -> Comparison:
    plan = study.plan
    done = {arm: [run for seed in plan.seeds if study.done(run := Run(arm, rate, seed))] for arm, rate in rates.items()}
    curves = {run: _curve(study, run) for runs in done.values() for run in runs}
    targets = _targets(curves)
    arms = tuple(_arm(study, arm, rates[arm], runs, curves, targets) for arm, runs in done.items())
    by_arm = {one.arm: one for one in arms}
    reference = by_arm.pop(plan.reference)
    pairs = {arm: _paired(reference, one, "accuracies") for arm, one in by_arm.items()}
    others = {arm: _paired(reference, one, "others") for arm, one in by_arm.items()}
    visible = {
        arm: smallest_visible(one.values, len(one.values), len(pairs)) if one else None for arm, one in pairs.items()
    }
    return Comparison(name, plan.measure, plan.reference, plan.seeds, arms, pairs, others, verdicts(pairs), visible)


def _curve(study: StudyFolder, run: Run) -> Rows:
    """A run's accuracy over steps by the study's measure, and by the other if it has that."""
    measure, other = MEASURES[study.plan.measure], MEASURES[OTHER[study.plan.measure]]
    return [{"step": row["step"], "accuracy": row[measure], "other": row.get(other)} for row in study.held_out(run)]


def _targets(curves: dict[Run, Rows]) -> dict[int, float]:
    """For each seed on which the arms gain, the accuracy at nine tenths of the way: the same for all, made by all."""
    found = {}
    for seed in {run.seed for run in curves}:
        first, last = (mean(rows[i]["accuracy"] for run, rows in curves.items() if run.seed == seed) for i in (0, -1))
        if last > first:
            found[seed] = first + REACH * (last - first)
    return found


def _arm(
    study: StudyFolder, arm: str, rate: float, runs: Sequence[Run], curves: dict[Run, Rows], targets: dict[int, float]
) -> ArmResult:
    metrics = [row for run in runs for row in study.of(run).rows(study.of(run).metrics)]
    ends = [curves[run][-1] for run in runs]
    return ArmResult(
        arm,
        rate,
        tuple(run.seed for run in runs),
        tuple(end["accuracy"] for end in ends),
        tuple(end["other"] for end in ends) if all(end["other"] is not None for end in ends) else (),
        tuple(curves[run] for run in runs),
        tuple(steps_to(curves[run], targets[run.seed]) for run in runs if run.seed in targets),
        time_share(metrics, "credit") or 0.0,
    )


def _paired(reference: ArmResult, other: ArmResult, measure: str) -> Difference | None:
    """Of a measure that both arms have on at least two seeds."""
    ours, theirs = (dict(zip(one.seeds, getattr(one, measure), strict=False)) for one in (reference, other))
    both = [seed for seed in ours if seed in theirs]
    if len(both) < 2:
        return None
    return paired([ours[seed] for seed in both], [theirs[seed] for seed in both])
