"""How a run looks while it runs: a live panel on a terminal, a line every few steps elsewhere."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from spancredit.report.means import drop_keys, exchanged, unit_of
from spancredit.report.visible import visible
from spancredit.types import REASONS

SPARKS = "▁▂▃▄▅▆▇█"
LINE_EVERY = 10  # steps, without a terminal
AT_LEAST_EVERY = 30.0  # seconds
UNSCORED = 5  # first steps without a rollout that is scored, after which that is said
RECENT = 40  # steps that are shown


class RunProgress:
    """Show logged metrics and held-out accuracies of a run."""

    def __init__(self, console: Console):
        self.console = console
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.said = time.monotonic()  # the last line
        self.last: int | None = None  # step
        self.accuracies: list[tuple[int, str]] = []
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task("steps", total=None)
        self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=False)

    @contextmanager
    def running(self) -> Iterator["RunProgress"]:
        if not self.console.is_terminal:
            yield self
            return
        with self.live:
            yield self

    def expect(self, total: int) -> None:
        """Take the number of steps that the run will have."""
        self.last = total
        self.bar.update(self.task, total=total)

    def log(self, metrics: dict[str, Any]) -> None:
        """Take one logged step."""
        is_first = not self.recent
        self.recent.append(metrics)
        if len(self.recent) == UNSCORED and (why := unscored(self.recent)):
            self.console.print(Text(visible(why)), soft_wrap=True)
        self.bar.update(self.task, completed=metrics["step"])
        due = is_first or metrics["step"] % LINE_EVERY == 0 or metrics["step"] == self.last
        if not self.console.is_terminal and (due or time.monotonic() - self.said > AT_LEAST_EVERY):
            self.said = time.monotonic()
            told = [] if exchanged([metrics]) else drop_keys([metrics])
            drops = (f"drop {key.rpartition('/')[2]} {metrics[key]:.2f}" for key in told)
            scored = metrics.get("credit/scored")
            share = metrics.get("credit/time_share") or 0.0
            parts = [
                f"step {metrics['step']:>4}",
                f"reward {metrics['reward']:.3f}",
                *([] if scored is None else [f"scored {scored:.0%}"]),
                *drops,
                f"credit {share:.0%} of the step",
            ]
            self.console.print(Text(visible("  ".join(parts))))

    def held_out(self, step: int, accuracy: str) -> None:
        """Take one held-out evaluation."""
        self.accuracies.append((step, accuracy))
        if not self.console.is_terminal:
            self.console.print(Text(visible(f"step {step:>4}  held-out accuracy {accuracy}")))

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", min_width=26)
        table.add_column()
        for label, key, form in (
            ("reward", "reward", "{:.3f}"),
            ("completion length", "completions/mean_length", "{:.0f} tokens"),
            ("rollouts scored", "credit/scored", "{:.0%}"),
            ("credit's share of the step", "credit/time_share", "{:.0%}"),
        ):
            self._row(table, label, key, form)
        unit = unit_of(self.recent)
        for key in drop_keys(self.recent):
            kind = key.rpartition("/")[2]
            self._row(table, f"drop, {kind}", key, "{:.2f} " + unit)
            self._row(table, f"share of weight, {kind}", f"credit/weight_share/{kind}", "{:.0%}")
        for step, accuracy in self.accuracies:
            table.add_row(f"held-out accuracy, step {step}", Text(visible(accuracy)))
        return Group(self.bar, table)

    def _row(self, table: Table, label: str, key: str, form: str) -> None:
        values = [row[key] for row in self.recent if row.get(key) is not None]
        if values:
            table.add_row(Text(visible(label)), f"{form.format(values[-1]):>12}  {sparkline(values)}")


def sparkline(values: list[float]) -> str:
    low, high = min(values), max(values)
    return "".join(SPARKS[round((v - low) / (high - low or 1) * (len(SPARKS) - 1))] for v in values)


def unscored(metrics: Iterable[dict[str, Any]]) -> str | None:
    """What to say of steps in which credit was to be measured and no rollout was scored; None of others."""
    reasons: Counter[str] = Counter()
    for row in metrics:
        if row.get("credit/scored") != 0 or row.get("credit/unscored/uniform"):
            return None
        reasons.update({key.rpartition("/")[2]: value for key, value in row.items() if "credit/unscored/" in key})
    reason, _ = max(reasons.items(), key=lambda item: (item[0] != "zero_advantage" and item[1] > 0, item[1]))
    why = REASONS.get(reason, reason)
    return f"No rollout was scored so far, and all have uniform credit ({reason}: {why}): spancredit doctor says more."
