"""The page of one run: accuracy, what earned the credit, what it cost, rollouts."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from spancredit.crediting import EXECUTION
from spancredit.models import without_folders
from spancredit.report.figures import learning_curve, svg
from spancredit.report.html import Picture, Section, page
from spancredit.report.means import drop_keys, exchanged, mean_of, time_share, unit_of
from spancredit.report.runfolder import RunFolder, in_words

Rows = Sequence[dict[str, Any]]
SHARES = {"generation's share of the time": "generation", "credit's share of the time": "credit"}
MEDIANS = {
    "rollouts with weights of their own": ("credit/scored", "{:.0%}"),
    "tokens forwarded by scoring, a step": ("credit/tokens_forwarded", "{:.0f}"),
    "seconds of a step": ("step_time", "{:.2f}"),
    "gradient norm": ("grad_norm", "{:.3f}"),
}


COSTS = (*SHARES, *MEDIANS)
NAMES = ("task", "dataset", "model_name_or_path")
MEASURING = ("credit_scorer", "credit_segmenter", "credit_intervention")
ASKED = (
    *("difficulty", "outcome", "credit_mode", *MEASURING),
    *("step_advantages", "learning_rate", "beta", "loss_type", "max_steps", "num_generations", "generation_batch_size"),
    *("max_completion_length", "temperature", "dynamic_sampling_rounds", "use_peft"),
)


def run_page(folder: RunFolder) -> str:
    """The run as one HTML page."""
    metrics, held_out = folder.rows(folder.metrics), folder.rows(folder.held_out)
    facts, asked = folder.facts(), folder.settings()
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    curve = Picture(svg(learning_curve(metrics, held_out)), "Reward and held-out accuracy; mean drop by kind of span")
    sections = [
        Section(
            "accuracy",
            "Held-out accuracy",
            header=("step", "accuracy"),
            rows=[(str(row["step"]), in_words(row)) for row in held_out],
            figures=[curve] if metrics else [],
        ),
        Section("credit", "What earned the credit", kind_notes(metrics), KINDS, kind_rows(metrics)),
        Section("cost", "What it cost", header=("over all steps", ""), rows=list(costs(metrics).items())),
    ]
    if asked:
        sections += [Section("settings", "What was asked", header=("setting", "value"), rows=settings_rows(asked))]
    line = f"{what_of(asked)}seed {facts['seed']}; {versions}"
    return page(folder.path.name, line, sections, {"": folder.rows(folder.records)})


EXCHANGES = (
    "Spans are exchanged between a right program and a wrong one: what one gains the other loses, so means are near 0."
)
KINDS = ("kind of span", "mean drop", "share of the weight")


def kind_notes(metrics: Rows) -> list[str]:
    """What has to be known to read the table."""
    return [EXCHANGES] if exchanged(metrics) else []


def kind_rows(metrics: Rows) -> list[tuple[str, str, str]]:
    """For each kind of span the mean over the steps."""
    rows, unit = [], unit_of(metrics)
    for key in drop_keys(list(metrics)):
        kind = key.rpartition("/")[2]
        drop, share = mean_of(metrics, key), mean_of(metrics, f"credit/weight_share/{kind}")
        rows.append((kind, "" if drop is None else f"{drop:+.2f} {unit}", "" if share is None else f"{share:.0%}"))
    return rows


def what_of(settings: dict[str, Any]) -> str:
    """A run in two words, to stand before others."""
    return "".join(f"{settings[name]}, " for name in ("task", "credit_mode") if name in settings)


def settings_rows(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """What decides a run, by the names of its flags; where models and data lay is left out."""
    by_tests, uniform = settings.get("outcome") in EXECUTION, settings.get("credit_mode") == "uniform"
    unread = MEASURING if by_tests or uniform else ()
    named = [(name, without_folders(str(settings[name]))) for name in NAMES if settings.get(name)]
    asked = {name: settings.get(name) for name in ASKED if name not in unread}
    return named + [(name, str(value)) for name, value in asked.items() if value not in (None, False)]


def costs(metrics: Rows) -> dict[str, str]:
    """Shares of the time of all steps, and medians over the steps that have them, in words."""
    found = {}
    for label, phase in SHARES.items():
        share = time_share(metrics, phase)
        found[label] = "" if share is None else f"{share:.0%}"
    for label, (key, form) in MEDIANS.items():
        values = [row[key] for row in metrics if row.get(key) is not None]
        found[label] = form.format(median(values)) if values else ""
    return found
