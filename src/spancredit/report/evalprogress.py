"""How an evaluation looks while it runs: a bar on a terminal, a line every tenth elsewhere."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10


class EvalProgress:
    """Show how many problems are done, and how many of them are right."""

    def __init__(self, console: Console, total: int):
        self.console, self.total = console, total
        columns = (TextColumn("problems"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self.bar = Progress(
            *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console, transient=True
        )
        self.task = self.bar.add_task("", total=total)
        self.lines = 0

    def __enter__(self) -> "EvalProgress":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()

    def show(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take the rows that are there."""
        if not rows:
            return
        right = sum(row["greedy"]["right"] for row in rows)
        self.bar.update(self.task, completed=len(rows), description=f"{right / len(rows):.1%} right, greedy")
        if not self.console.is_terminal and LINES * len(rows) // self.total > self.lines:
            self.lines = LINES * len(rows) // self.total
            self.console.print(
                f"{len(rows):>6} of {self.total}  {right / len(rows):.1%} right, greedy", highlight=False
            )
