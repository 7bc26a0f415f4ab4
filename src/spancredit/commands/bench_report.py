"""What the `spancredit bench` commands share: reading their options, and giving out a report."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from spancredit.errors import ConfigError
from spancredit.report.lines import is_place_for_a_file
from spancredit.report.visible import visible_json


def source_of(model: str | None, shape: str | None, dtype: str, device: str, seed: int) -> Any:
    """Which model to measure with; the bundled one if neither a name nor a shape is given."""
    from spancredit.bench.models import Source, read_shape

    if model is not None and shape is not None:
        raise ConfigError(f"--model is {model!r} and --shape is {shape!r}; expected one of the two.")
    return Source(model or "bundled", read_shape(shape) if shape else None, dtype, device, seed)


def check(path: Path | None, repeats: int) -> None:
    """Refuse what could only fail after everything has been measured."""
    if path is not None and not is_place_for_a_file(path):
        raise ConfigError(f"the file to write is {path}; expected one in a folder that exists, and no folder.")
    if repeats < 1:
        raise ConfigError(f"--repeats is {repeats}; expected at least 1.")


def read_horizon(text: str) -> int:
    if not text.strip().isdecimal():
        raise ConfigError(f"--horizons has {text!r}; expected integers with commas between.")
    return int(text)


def give(report: dict[str, Any], as_json: bool, out: Path | None, plot: Path | None = None) -> None:
    """On standard output for people or programs, and into files: its JSON, and a picture of what grows.

    Raises:
        ConfigError: if a file cannot be written; all of the report is on standard output then, as JSON.
    """
    from spancredit.bench.show import show

    text = visible_json(json.dumps(report, indent=2, ensure_ascii=False))
    failed = None
    try:
        if out is not None:
            out.write_text(text + "\n", encoding="utf-8")
        if plot is not None:
            from spancredit.bench.plot import plot_growth

            plot_growth(report, plot)
    except OSError as error:
        failed = error
    if not as_json:
        show(report)
    if as_json or failed:
        typer.echo(text)
    if failed:
        raise ConfigError(f"a file could not be written ({failed}); all of it is on standard output.") from failed


@contextmanager
def noting(silent: bool) -> Iterator[Callable[[str], Any]]:
    """Takes what is being measured, and shows it on standard error while it runs on a terminal."""
    from spancredit.commands.quiet import quiet

    quiet()
    with Console(stderr=True, quiet=silent).status("") as status:
        yield status.update
