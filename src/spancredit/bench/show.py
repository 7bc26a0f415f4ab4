"""A report as tables, and these in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spancredit.report.visible import visible

Report = dict[str, Any]
Cells = list[list[str]]
RATIO, UNIT = "ratio", "ratio and floor: policy forwards"


def show(report: Report, console: Console | None = None) -> None:
    """Print a report: what was measured, and a table or several."""
    console = console or Console()
    for title, header, rows in tables_of(report):
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for i, name in enumerate(header):
            table.add_column(Text(visible(name)), justify="left" if i == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        console.print(Text(visible(title), style="dim"))
        console.print(table, "", sep="\n")


def tables_of(report: Report) -> list[tuple[str, list[str], Cells]]:
    """Title, header and rows of every table in a report."""
    makers = {"scorers": _scorers, "growth": _growth, "step": _step}
    return makers[report["kind"]](report)


def _scorers(report: Report) -> list[tuple[str, list[str], Cells]]:
    header = ["", RATIO, "floor", "ratio/floor", "difference", "rank"]
    rows = []
    for row in report["rows"]:
        ratio = f"needs {_bytes(row['bytes_of_logits'])}" if row["ratio"] is None else _number(row["ratio"])
        floor = row.get("floor")
        over = row["ratio"] / floor if floor else None
        difference = "" if row.get("difference") is None else f"{row['difference']:.1e}"
        rank = "" if row.get("spearman") is None else f"{row['spearman']:.3f}"
        rows.append([row["name"], ratio, _number(floor), _number(over), difference, rank])
    work, reference = report["work"], report["reference"]
    held = f"; difference: the greatest, in nats, and rank: Spearman's correlation, each with {reference}"
    sizes = f"{_range(work['completion_tokens'])} tokens after {_range(work['prompt_tokens'])}"
    title = (
        f"{_source(report)}; {work['rollouts']} completions of {work['prompts']} prompts, {sizes}, "
        f"{sum(work['spans'])} spans in all. One policy forward takes {_seconds(report['policy_seconds'])}; "
        f"{UNIT}{held if reference else ''}."
    )
    return [(title, header, rows)]


def _growth(report: Report) -> list[tuple[str, list[str], Cells]]:
    found = []
    for table in report["tables"].values():
        header = [table["what"], RATIO, "floor", "ratio/floor", "memory", "policy's memory"]
        rows = [
            [
                str(row["value"]),
                *(_number(row[name]) for name in ("ratio", "floor", "over_floor")),
                *(_bytes(row[name]) for name in ("bytes", "policy_bytes")),
            ]
            for row in table["rows"]
        ]
        sizes = ", ".join(f"{name} {value}" for name, value in table["sizes"].items())
        found.append((f"{_source(report)}; {sizes}, but for what grows; {UNIT}.", header, rows))
    return found


def _step(report: Report) -> list[tuple[str, list[str], Cells]]:
    row: Mapping[str, float] = report["median"]
    header = ["", "seconds", "predicted", "share", "predicted share", "at the floor"]
    floor = "" if "budget" in report["credit"] else f"{row['floor_share']:.1%}"
    rows = [
        ["generation", _seconds(row["generation_seconds"]), _seconds(row["predicted_generation_seconds"])],
        ["credit", _seconds(row["credit_seconds"]), ""],
        ["loss and backward", _seconds(row["training_seconds"]), _seconds(row["predicted_training_seconds"])],
    ]
    for line, name in zip(rows, ("generation_share", "credit_share", "training_share"), strict=True):
        line.append(f"{row[name]:.1%}")
        line += [f"{row['predicted_share']:.1%}", floor] if name == "credit_share" else ["", ""]
    settings = "".join(f"{name} {value}; " for name, value in report["credit"].items())
    if "budget" in report["credit"]:
        settings += f"{row['measured']:.0%} of the rollouts measured; "
        if report["agreement"] is not None:
            settings += f"rank correlation of their drops with exact ones {report['agreement']:.2f}; "
    title = (
        f"{_source(report)}; {report['batch']} completions a step, {report['generations']} of a prompt, "
        f"{report['completion']:.0f} tokens each (median); {settings}{report['formula']}."
    )
    return [(title, header, rows)]


def _source(report: Report) -> str:
    source = report["source"]
    shape = source.get("shape")
    sizes = ", ".join(f"{key} {value}" for key, value in shape.items() if value) if shape else ""
    name = Path(source["model"]).name if "model" in source else sizes
    return f"{name}; {source['dtype']} on {source['device']}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def _bytes(value: int | None) -> str:
    if value is None:
        return ""
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)} to {max(values)}"
