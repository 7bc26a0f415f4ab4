"""How far an explanation is, on a terminal: what is being done, for how long, and how many forwards it took so far."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from spancredit.report.visible import visible


class ExplainProgress:
    """A line for the step at work; nothing where the console is no terminal."""

    def __init__(self, console: Console):
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> "ExplainProgress":
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()

    @contextmanager
    def step(self, what: str, model: Any = None, counted: str = "") -> Iterator[None]:
        """Show a step; with a model, also how many forwards it has made, under the name that they go by here."""
        what = visible(what)
        line, forwards = self.bar.add_task(what, total=None), 0

        def count(*_: Any) -> None:
            nonlocal forwards
            forwards += 1
            self.bar.update(line, description=f"{what}, {counted} {forwards}")

        hook = None if model is None else model.register_forward_pre_hook(count)
        try:
            yield
        finally:
            if hook is not None:
                hook.remove()
            self.bar.refresh()  # however short it was, it is shown once
            self.bar.update(line, visible=False)
