"""Findings for people and for programs. What a model wrote is in them, and acts on no terminal."""

from collections.abc import Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from spancredit.doctor.finding import SEVERITIES, Finding, counted, percent
from spancredit.report.visible import visible

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
SCHEMA = 1
INDENT, WIDEST = 9, 110  # characters


def as_data(findings: Sequence[Finding], silent: Sequence[str], measured: dict[str, Any] | None, ok: bool) -> Any:
    """One object: whether the exit status is 0, the findings, the checks that found nothing, and what was measured."""
    return {
        "schema": SCHEMA,
        "ok": ok,
        "findings": [asdict(one) for one in findings],
        "silent": list(silent),
        "measured": measured,
    }


def show(console: Console, findings: Sequence[Finding], silent: Sequence[str], measured: dict[str, Any] | None) -> None:
    if measured is not None:
        for line in _head(measured):
            _say(console, Text(visible(line)))
    for nth, one in enumerate(findings):
        if nth or measured is not None:
            _say(console, Text(""))
        head, *more = _lines(console, f"{one.name}: {one.text}")
        _say(console, Text.assemble((f"{one.severity:{INDENT}}", COLOURS[one.severity]), head))
        said = [("", line) for line in more]
        if one.example:
            said += [("dim", line) for line in _lines(console, f"e.g. {one.example}")]
        for style, line in [*said, *(("bold", line) for line in _lines(console, f"-> {one.advice}"))]:
            _say(console, Text(" " * INDENT + line, style=style))
    _say(console, Text(""))
    if silent:
        for line in wrap(visible(f"nothing to say about {', '.join(silent)}"), min(console.width, WIDEST)):
            _say(console, Text(line, style="dim"))
    tally = {severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES}
    _say(console, Text(", ".join(counted(number, severity) for severity, number in tally.items()), style="bold"))


def _head(measured: dict[str, Any]) -> list[str]:
    length, difference = measured["length"], measured["largest_difference"]
    reward = "none" if measured["reward"] is None else f"{measured['reward']:.2f}"
    lines = [
        f"{measured['model']} on {measured['task']}, credit {measured['mode']}: {measured['completions']} completions "
        f"of {counted(measured['prompts'], 'prompt')}, {length['median']:g} tokens in the median, {length['longest']} "
        "at most",
        f"prompts have {measured['prompt']['longest']} tokens at most; the first ends {measured['prompt']['end']!r}",
        f"mean reward {reward}; an answer in {percent(measured['answers'])}, an advantage in "
        f"{percent(measured['with_advantage'])}, credit in {percent(measured['scored'])}",
    ]
    if difference is not None:
        lines[-1] += f"; at most {difference:.1g} nats from the definition"
    return lines


def _lines(console: Console, text: str) -> list[str]:
    """Flags and words stay whole, so that they can be copied."""
    return wrap(visible(text), min(console.width, WIDEST) - INDENT, break_long_words=False, break_on_hyphens=False)


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)
