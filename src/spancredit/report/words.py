"""What a record says beside its coloured completion, in sentences and in rows: a terminal and a page show the same."""

from typing import Any

from spancredit.report.records import measure_of, right_of
from spancredit.report.visible import visible
from spancredit.types import REASONS

Cells = tuple[str, str, str, str, str]


def notes_of(record: dict[str, Any]) -> list[str]:
    """What was found, a sentence each."""
    notes = []
    if (reason := record["reason"]) is not None:
        notes.append(f"Every weight is 1: {REASONS.get(reason, visible(reason))}.")
    if (right := right_of(record)) is not None:
        notes.append(f"The answer is {'right' if right else 'wrong'}.")
    if probe := record.get("probe"):
        notes.append(f"The answer is what follows {one_line(probe['suffix'])!r}: {one_line(probe['value'])!r}.")
    if record["answer_logp"] is not None:
        cost = spent(record["cost"]["forwards"], record["cost"]["tokens"])
        notes.append(f"Log-probability of the answer: {record['answer_logp']:.3f} nats ({cost}).")
    if runs := record["cost"].get("runs"):
        notes.append(f"Programs run: {runs}.")
    return notes


def header_of(record: dict[str, Any]) -> Cells:
    return "kind", measure_of(record), "importance", "weight", "text"


def rows_of(record: dict[str, Any]) -> list[Cells]:
    """One for each span, and one for the answer; what was no finite number is left empty."""
    rows: list[Cells] = [
        (
            visible(span["kind"]),
            _said(span["drop"], "+.3f"),
            _said(span["importance"], ".2f"),
            _said(span["weight"], ".2f"),
            one_line(span["text"]),
        )
        for span in record["spans"]
    ]
    if answer := record["answer"]:
        weight = record["token_weights"][answer["start"]]
        rows.append(("answer", "", "", _said(weight, ".2f"), one_line(answer["text"])))
    return rows


def one_line(text: str) -> str:
    """For a cell of a table."""
    return visible(" ".join(text.split()))


def spent(forwards: int, tokens: int) -> str:
    """A forward that several rollouts share counts at the first of them."""
    if not forwards and tokens:
        return f"{tokens} tokens in forwards shared with other rollouts"
    return f"{forwards} forward{'' if forwards == 1 else 's'}, {tokens} tokens"


def _said(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)
