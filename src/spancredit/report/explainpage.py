"""The page of one explained completion: coloured by credit, and a table of its spans."""

from typing import Any

from spancredit.report.html import Section, page
from spancredit.report.records import measure_of
from spancredit.report.terminal import one_line
from spancredit.types import REASONS


def explain_page(record: dict[str, Any], title: str, facts: str) -> str:
    """One record as an HTML page.

    Args:
        facts: One line below the title.
    """
    header = ("kind", measure_of(record), "importance", "weight", "text")
    spans = Section("spans", "Spans", _notes(record), header, _rows(record))
    return page(title, facts, [], {"": [record]}, below=[spans])


def _notes(record: dict[str, Any]) -> list[str]:
    notes = []
    if record["reason"]:
        notes.append(f"Every weight is 1: {REASONS[record['reason']]}.")
    if record["answer_logp"] is not None:
        cost = f"{record['cost']['forwards']} forwards, {record['cost']['tokens']} tokens"
        notes.append(f"Log-probability of the answer: {record['answer_logp']:.3f} nats ({cost}).")
    return notes


def _rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            span["kind"],
            f"{span['drop']:+.3f}",
            f"{span['importance']:.2f}",
            f"{span['weight']:.2f}",
            one_line(span["text"]),
        )
        for span in record["spans"]
    ]
    if record["answer"]:
        weight = record["token_weights"][record["answer"]["start"]]
        rows.append(("answer", "", "", f"{weight:.2f}", one_line(record["answer"]["text"])))
    return rows
