"""The page of one explained completion: coloured by credit, and a table of its spans."""

from typing import Any

from spancredit.report.html import Section, page
from spancredit.report.words import header_of, notes_of, rows_of


def explain_page(record: dict[str, Any], title: str, facts: str) -> str:
    """One record as an HTML page.

    Args:
        facts: One line below the title.
    """
    spans = Section("spans", "Spans", notes_of(record), header_of(record), rows_of(record))
    return page(title, facts, [], {"": [record]}, below=[spans])
