"""A record in the terminal: the completion coloured by credit, and a table of its spans."""

import io
import math
import re
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from spancredit.report.records import measure_of
from spancredit.report.visible import visible
from spancredit.types import REASONS

# Blue (less than its share) over grey to orange (more): told apart with any colour vision, and in grey by lightness;
# white is legible on all of them.
LESS, EVEN, MORE = (0, 50, 120), (84, 84, 84), (188, 90, 0)


def colour(weight: float) -> tuple[int, int, int]:
    """Background for a token weight; 1 is even, and the scale is logarithmic from 1/3 to 3."""
    position = max(-1.0, min(1.0, math.log(max(weight, 1e-6)) / math.log(3)))
    end = MORE if position > 0 else LESS
    red, green, blue = (round(a + (b - a) * abs(position)) for a, b in zip(EVEN, end, strict=True))
    return red, green, blue


def _shade(weight: float) -> Style:
    """White by its number: what a terminal calls white is often a grey."""
    return Style(color="#ffffff", bgcolor="#{:02x}{:02x}{:02x}".format(*colour(weight)))


def coloured(record: dict[str, Any]) -> Text:
    """The completion, each token on the colour of its weight."""
    text = Text()
    for piece, weight in zip(record["tokens"], record["token_weights"], strict=True):
        text.append(visible(piece), _shade(weight))
    return text


def span_table(record: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, justify in (
        ("kind", "left"),
        (measure_of(record), "right"),
        ("importance", "right"),
        ("weight", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("text", overflow="fold")
    for span in record["spans"]:
        numbers = f"{span['drop']:+.3f}", f"{span['importance']:.2f}", f"{span['weight']:.2f}"
        table.add_row(Text(visible(span["kind"])), *numbers, Text(one_line(span["text"])))
    if record["answer"]:
        weight = record["token_weights"][record["answer"]["start"]]
        table.add_row("answer", "", "", f"{weight:.2f}", Text(one_line(record["answer"]["text"])))
    return table


def one_line(text: str) -> str:
    """For a cell of a table."""
    return visible(" ".join(text.split()))


def explanation(record: dict[str, Any]) -> RenderableType:
    """All of it: prompt, coloured completion, what was found, spans."""
    parts: list[RenderableType] = [Text(visible(record["prompt"].strip()), style="dim"), coloured(record), ""]
    if record["reason"]:
        parts.append(Text(f"Every weight is 1: {REASONS[record['reason']]}.", style="bold"))
    if record["reward"] is not None:
        parts.append(f"The answer is {'right' if record['reward'] > 0 else 'wrong'}.")
    if record["answer_logp"] is not None:
        cost = f"{record['cost']['forwards']} forwards, {record['cost']['tokens']} tokens"
        parts.append(f"log-probability of the answer: {record['answer_logp']:.3f} nats ({cost})")
    if runs := record["cost"].get("runs"):
        parts.append(f"programs run: {runs}")
    if record["spans"]:
        parts += ["", span_table(record), "", legend()]
    return Group(*parts)


def legend() -> Text:
    text = Text("weight ")
    for weight in (1 / 3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        text.append(f" {weight:.2f} ", _shade(weight))
    return text


def save_svg(record: dict[str, Any], path: Path, title: str) -> None:
    """The same as a picture, which loads nothing from elsewhere: the font is the viewer's own."""
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    show(record, console)
    console.save_svg(
        str(path),
        title=visible(title),
        code_format=re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S),
    )


def show(record: dict[str, Any], console: Console | None = None) -> None:
    (console or Console()).print(explanation(record))
