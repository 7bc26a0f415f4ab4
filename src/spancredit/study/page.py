"""The page of a study, and its pictures as files."""

from collections.abc import Sequence
from statistics import mean

from spancredit.report.figures import save, svg
from spancredit.report.html import Picture, Section, page
from spancredit.report.runfolder import RunFolder
from spancredit.report.runpage import COSTS, KINDS, costs, kind_notes, kind_rows
from spancredit.study.figures import Metrics, accuracies, convergence, importance, learning_curves, phases
from spancredit.study.folder import StudyFolder
from spancredit.study.plan import OTHER, Run
from spancredit.study.results import ArmResult, Comparison
from spancredit.study.statistics import Difference
from spancredit.study.terminal import NOTES, accuracy, by_other, points, steps_reached, verdict

COMPARED = {
    "learning-curves": (learning_curves, "Held-out accuracy over steps, mean and one standard deviation over seeds"),
    "accuracy": (accuracies, "Held-out accuracy at the end; grey lines join the runs of a seed"),
    "convergence": (
        convergence,
        "Steps to nine tenths of what the arms gain on a seed, by straight lines between evaluations; a cross: never",
    ),
}
IMPORTANCE = "importance", importance, "Mean drop and share of the weight by kind of span, over all steps"
PHASES = "phases", phases, "Where the seconds of a step go, means; runs that share cores slow each other down"
HEADLINE = ("arm", "rate", "seeds", "accuracy (sd)", "gain", "95 % Student", "95 % bootstrap", "p (least)", "steps")


def study_page(study: StudyFolder, comparisons: Sequence[Comparison]) -> str:
    """The study as one HTML page."""
    if not comparisons:
        return page(study.path.name, "learning rates are not chosen yet", [], {"": []})
    sections = [_headline(i, comparison) for i, comparison in enumerate(comparisons)]
    sections += [_tuning(study)] if study.plan.tuning else []
    folders = _folders(study, comparisons[0])
    metrics = _metrics(folders)
    records = {arm: [row for one in some for row in one.rows(one.records)] for arm, some in folders.items()}
    sections += [_credit(metrics), _cost(metrics)] if any(metrics.values()) else []
    facts = f"{sum(map(len, folders.values()))} runs; {len(study.plan.seeds)} seeds an arm planned"
    return page(study.path.name, facts, sections, {arm: some for arm, some in records.items() if some} or {"": []})


def save_figures(study: StudyFolder, comparisons: Sequence[Comparison]) -> None:
    """The pictures as SVG and PNG, in `figures/`."""
    folder = study.path / "figures"
    folder.mkdir(exist_ok=True)
    drawn = {
        f"{name}{f'-{i + 1}' if i else ''}": draw(comparison)
        for i, comparison in enumerate(comparisons)
        for name, (draw, _) in COMPARED.items()
    }
    metrics = _metrics(_folders(study, comparisons[0])) if comparisons else {}
    if any(metrics.values()):
        drawn |= {name: draw(metrics) for name, draw, _ in (IMPORTANCE, PHASES)}
    for name, figure in drawn.items():
        for ending in ("svg", "png"):
            save(figure, folder / f"{name}.{ending}")


def _tuning(study: StudyFolder) -> Section:
    """Every arm at every rate. A best rate at the end of the row may have a better one beyond it."""
    plan, rates = study.plan, sorted(study.plan.rates)
    found = study.accuracies(plan.tuning)
    best = plan.choose(found).best
    means = {
        (arm, rate): mean(found[Run(arm, rate, seed)] for seed in plan.tuning_seeds)
        for arm in plan.arms
        for rate in rates
    }
    rows = [(arm, *(f"{means[arm, rate]:.1%}" for rate in rates), f"{best[arm]:g}") for arm in plan.arms]
    notes = [f"Mean accuracy of the seeds {', '.join(map(str, plan.tuning_seeds))}, which are in no other table."]
    ends = [arm for arm in plan.arms if best[arm] in (rates[0], rates[-1])]
    if ends:
        notes += [f"The best rate is at an end of what was tried for {', '.join(ends)}: a better one may lie beyond."]
    return Section(
        "tuning", "How learning rates were chosen", notes, ("arm", *(f"{r:g}" for r in rates), "chosen"), rows
    )


def _headline(number: int, comparison: Comparison) -> Section:
    return Section(
        f"headline-{number + 1}",
        f"Held-out accuracy, {comparison.measure}, {comparison.name}",
        notes=[
            NOTES.format(reference=comparison.reference),
            "p: sign-flip permutation test, and the least that so many seeds can give",
            *(f"{arm.arm}: {verdict(comparison, arm)}" for arm in comparison.arms),
        ],
        header=(*HEADLINE, f"{OTHER[comparison.measure]} (sd)"),
        rows=[_row(comparison, arm) for arm in comparison.arms],
        figures=[Picture(svg(draw(comparison)), caption) for draw, caption in COMPARED.values()],
    )


def _row(comparison: Comparison, arm: ArmResult) -> list[str]:
    if not arm.seeds:
        return [arm.arm, f"{arm.rate:g}", "0", *[""] * (len(HEADLINE) - 2)]
    against = _against(comparison.differences.get(arm.arm))
    return [
        arm.arm,
        f"{arm.rate:g}",
        str(len(arm.seeds)),
        accuracy(arm.accuracies),
        *against,
        steps_reached(arm),
        by_other(comparison, arm),
    ]


def _against(difference: Difference | None) -> list[str]:
    if difference is None:
        return [""] * 4
    intervals = [points(difference.student), points(difference.bootstrap)]
    return [f"{100 * difference.mean:+.1f}", *intervals, f"{difference.p:.3f} ({difference.least_p:.2g})"]


def _credit(metrics: Metrics) -> Section:
    rows = [(arm, *row) for arm, some in metrics.items() for row in kind_rows(some)]
    _, draw, caption = IMPORTANCE
    figures = [Picture(svg(draw(metrics)), caption)]
    notes = [f"{arm}: {note}" for arm, some in metrics.items() for note in kind_notes(some)]
    return Section("credit", "What earned the credit", notes, ("arm", *KINDS), rows, figures)


def _cost(metrics: Metrics) -> Section:
    rows = [(arm, *costs(some).values()) for arm, some in metrics.items() if some]
    _, draw, caption = PHASES
    figures = [Picture(svg(draw(metrics)), caption)]
    return Section(
        "cost",
        "What it cost, over all steps",
        header=("arm", *COSTS),
        rows=rows,
        figures=figures,
    )


def _folders(study: StudyFolder, comparison: Comparison) -> dict[str, list[RunFolder]]:
    """Of the runs that are done, by arm."""
    return {arm.arm: [study.of(Run(arm.arm, arm.rate, seed)) for seed in arm.seeds] for arm in comparison.arms}


def _metrics(folders: dict[str, list[RunFolder]]) -> Metrics:
    return {arm: [row for one in some for row in one.rows(one.metrics)] for arm, some in folders.items()}
