"""Pictures of a run, made from its JSON lines. Palette: Okabe and Ito's, told apart with any colour vision."""

import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spancredit.report.means import drop_keys, unit_of
from spancredit.report.visible import visible

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("solid", "dashed", "dotted", "dashdot")
Rows = list[dict[str, Any]]


def save(figure: Figure, path: Path) -> None:
    """As SVG or PNG, by the path's ending."""
    figure.savefig(path, dpi=150)


def svg(figure: Figure) -> str:
    """The same as text."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


def learning_curve(metrics: Rows, held_out: Rows) -> Figure:
    """Reward and held-out accuracy above, mean drop by kind of span below, over optimizer steps."""
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _line(top, metrics, "reward", "reward on sampled completions", PALETTE[0], alpha=0.6)
    if held_out:
        steps, means = [row["step"] for row in held_out], [row["accuracy"] for row in held_out]
        below = [max(0.0, row["accuracy"] - row.get("low", row["accuracy"])) for row in held_out]
        above = [max(0.0, row.get("high", row["accuracy"]) - row["accuracy"]) for row in held_out]
        top.errorbar(
            steps, means, [below, above], color=PALETTE[1], marker="o", capsize=3, label="held-out accuracy, greedy"
        )
    top.set_ylabel("share right")
    top.set_ylim(0, 1)
    if top.get_legend_handles_labels()[0]:
        top.legend(frameon=False, loc="upper left")
    kinds = drop_keys(metrics)
    for nth, key in enumerate(kinds):  # beyond the palette, colours come again in another style
        style = STYLES[nth // len(PALETTE) % len(STYLES)]
        _line(bottom, metrics, key, literal(key.rpartition("/")[2]), PALETTE[nth % len(PALETTE)], style=style)
    bottom.set_ylabel(f"mean drop ({unit_of(metrics)})")
    bottom.set_xlabel("optimizer step")
    if kinds:
        figure.legend(*bottom.get_legend_handles_labels(), frameon=False, ncols=4, loc="outside lower center")
    for axes in (top, bottom):
        plain(axes)
    return figure


def plain(axes: Axes) -> None:
    """No frame but two axes, and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


def literal(label: str) -> str:
    """A label that comes from data, as it is: matplotlib sets what stands between two dollar signs as mathematics.

    It leaves what begins with an underscore out of legends, where a space of no width does not.
    """
    shown = visible(label).replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown


def _line(
    axes: Axes, metrics: Rows, key: str, label: str, colour: str, alpha: float = 1.0, style: str = "solid"
) -> None:
    rows = [row for row in metrics if row.get(key) is not None]
    if rows:
        steps, values = [row["step"] for row in rows], [row[key] for row in rows]
        axes.plot(steps, values, color=colour, label=label, alpha=alpha, linestyle=style)
