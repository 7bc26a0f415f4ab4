"""Growth as a picture: what credit takes and its floor, both axes logarithmic."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from spancredit.report.figures import PALETTE


def plot_growth(report: dict[str, Any], path: Path) -> None:
    """One panel a table, saved in the format that the file's name ends with."""
    tables = report["tables"]
    figure = Figure(figsize=(3.6 * len(tables), 3.2), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, table in zip(panels, tables.values(), strict=True):
        values = [row["value"] for row in table["rows"]]
        axes.loglog(values, [row["ratio"] for row in table["rows"]], "o-", color=PALETTE[0], label="measured")
        axes.loglog(values, [row["floor"] for row in table["rows"]], "--", color=PALETTE[1], label="floor")
        axes.set_xlabel(table["what"])
        axes.set_xticks(values, labels=[_short(value) for value in values])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("policy forwards")
    panels[0].legend(frameon=False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "spancredit"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _short(value: int) -> str:
    return f"{value // 1024}k" if value >= 1024 and value % 1024 == 0 else str(value)
