"""A record in the terminal: the completion coloured by credit, and a table of its spans."""

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from spancredit.report.visible import visible
from spancredit.report.words import header_of, notes_of, rows_of

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
    *named, text = header_of(record)
    for name in named:
        table.add_column(name, justify="left" if name == named[0] else "right", no_wrap=True)
    table.add_column(text, overflow="fold")
    for row in rows_of(record):
        table.add_row(*map(Text, row))
    return table


def explanation(record: dict[str, Any]) -> RenderableType:
    """All of it: prompt, coloured completion, what was found, spans."""
    parts: list[RenderableType] = [Text(visible(record["prompt"].strip()), style="dim"), coloured(record), ""]
    parts += map(Text, notes_of(record))
    if record["spans"]:
        parts += ["", span_table(record), InColour(legend())]
    return Group(*parts)


def legend() -> Text:
    text = Text("\nweight ")
    for weight in (1 / 3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        text.append(f" {weight:.2f} ", _shade(weight))
    return text


@dataclass(frozen=True)
class InColour:
    """A text that says something by its colours alone: shown where there are some."""

    text: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.color_system is not None and not console.no_color:
            yield self.text


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
