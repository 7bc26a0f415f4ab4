"""The page of one run: accuracy, what earned the credit, what it cost, rollouts."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from spancredit.report.figures import learning_curve, svg
from spancredit.report.html import Picture, Section, page
from spancredit.report.means import drop_keys, mean_of, time_share, unit_of
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


def run_page(folder: RunFolder) -> str:
    """The run as one HTML page."""
    metrics, held_out = folder.rows(folder.metrics), folder.rows(folder.held_out)
    facts = folder.facts()
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
        Section("credit", "What earned the credit", header=KINDS, rows=kind_rows(metrics)),
        Section("cost", "What it cost", header=("over all steps", ""), rows=list(costs(metrics).items())),
    ]
    return page(folder.path.name, f"seed {facts['seed']}; {versions}", sections, {"": folder.rows(folder.records)})


KINDS = ("kind of span", "mean drop", "share of the weight")


def kind_rows(metrics: Rows) -> list[tuple[str, str, str]]:
    """For each kind of span the mean over the steps."""
    rows, unit = [], unit_of(metrics)
    for key in drop_keys(list(metrics)):
        kind = key.rpartition("/")[2]
        drop, share = mean_of(metrics, key), mean_of(metrics, f"credit/weight_share/{kind}")
        rows.append((kind, "" if drop is None else f"{drop:+.2f} {unit}", "" if share is None else f"{share:.0%}"))
    return rows


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
