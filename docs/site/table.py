"""Tables in Markdown, and values as they stand in one."""

from collections.abc import Iterable
from dataclasses import MISSING
from typing import Any


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    return f"`{text}`" if text.strip() == text and text else f"`{text!r}`"


def plain(value: Any) -> str:
    """As it stands in a YAML file."""
    if value is MISSING:
        raise ValueError("a setting without a default cannot stand in the table")
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
