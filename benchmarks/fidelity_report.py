"""The figures of `benchmarks/fidelity.json` as Markdown tables and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spancredit.report.figures import PALETTE

Table = Mapping[str, Mapping[str, Any]]  # row -> column -> {value, low, high} or a number
MARKS = "osD^vX"
LABELS = {
    "proxy entropy": (6, -12),
    "proxy surprisal": (6, 2),
    "proxy gradient": (-42, -12),
    "proxy attention": (-8, -15),
}


def tables(found: Mapping[str, Any]) -> str:
    """Every table under its heading."""
    parts = [f"### Exact reference: {name}\n\n{markdown(table)}" for name, table in found["exact"].items()]
    parts += [f"### Outcome, {name} completions\n\n{markdown(table)}" for name, table in found["outcome"].items()]
    parts += [f"### {name}, less pad's\n\n{markdown(table)}" for name, table in found["differences"].items()]
    names = ("largest", "roles", "above floor", "placebo", "noise")
    parts += [f"### {name}\n\n{markdown(found[name])}" for name in names]
    return "\n\n".join(parts)


def markdown(table: Table) -> str:
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.items():
        lines.append(f"| {name} | {' | '.join(_cell(row.get(column)) for column in columns)} |")
    return "\n".join(lines)


def _cell(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, Mapping):
        return f"{entry['value']:.2f} ({entry['low']:.2f} to {entry['high']:.2f})"
    return str(entry) if isinstance(entry, int) else f"{entry:.2f}" if abs(entry) >= 0.1 else f"{entry:.2g}"


def picture(found: Mapping[str, Any], horizons: tuple[int, ...], proxies: tuple[str, ...], path: Path) -> None:
    """Rank correlation with the exact drop over cost: a line an intervention, a mark a horizon; proxies against pad."""
    matplotlib.rcParams["svg.hashsalt"] = "fidelity"
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.set_title("the numbers themselves", fontsize=10)
    right.set_title("as training uses them: above the noise floor", fontsize=10)
    for axes, column in ((left, "spearman"), (right, "spearman, used")):
        _panel(axes, found["exact"], column, horizons, proxies)
    left.set_ylabel("rank correlation with the exact drop")
    left.set_ylim(-0.6, 1.08)
    right.legend(frameon=False, title="horizons 0, 4, 8, 16, 32, 64 of", loc="center right", fontsize=9)
    figure.supxlabel("tokens through the model, relative to exact drops", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _panel(axes: Any, exact: Mapping[str, Any], column: str, horizons: tuple[int, ...], proxies: Any) -> None:
    lines = ((name, table) for name, table in exact.items() if name != "delete")
    for colour, (name, table) in zip(PALETTE, lines, strict=False):
        points = [table[f"{name} horizon {horizon}"] for horizon in horizons]
        costs, heights = [point["tokens"] for point in points], [point[column]["value"] for point in points]
        axes.plot(costs, heights, color=colour, linewidth=1, label=name)
        for horizon, mark, point in zip(horizons, MARKS, points, strict=True):
            _point(axes, point, column, colour, mark)
            if name == "pad":
                _label(axes, point, column, str(horizon), (4, -12))
    for name in proxies:
        point = exact["pad"][name]
        _point(axes, point, column, "#555555", "*")
        _label(axes, point, column, name.removeprefix("proxy "), LABELS.get(name, (6, -3)))
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


def _label(axes: Any, point: Mapping[str, Any], column: str, text: str, shift: tuple[int, int]) -> None:
    place = point["tokens"], point[column]["value"]
    axes.annotate(text, place, shift, textcoords="offset points", fontsize=9)


def _point(axes: Any, point: Mapping[str, Any], column: str, colour: str, mark: str) -> None:
    height = point[column]
    errors = [[height["value"] - height["low"]], [height["high"] - height["value"]]]
    axes.errorbar([point["tokens"]], [height["value"]], errors, color=colour, marker=mark, capsize=2, linewidth=1)
