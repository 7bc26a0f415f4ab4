"""Files of a run: written whole or not at all, and JSON lines that can be read after any crash."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from spancredit.errors import RecordError, RunFolderError
from spancredit.report.visible import visible_json

SCHEMA = 1
NO_JSON = (FileNotFoundError, ValueError, RecursionError)


def append_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to a JSON-lines file in one write. Numbers that JSON does not know become null."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(rows))


def write(path: Path, text: str) -> None:
    """All of it or nothing, whenever the process ends or the disk is full."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def is_place_for_a_file(path: Path) -> bool:
    """Whether its folder exists, and it is none itself."""
    return path.parent.is_dir() and not path.is_dir()


def is_json(path: Path) -> bool:
    """Whether there is a file, and all of it is one JSON value."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except NO_JSON:
        return False
    return True


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """What a file holds.

    Raises:
        RunFolderError: if that is no JSON object; it says what was expected.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except NO_JSON:
        found = None
    if not isinstance(found, dict):
        raise RunFolderError(f"{path} is no JSON object; expected {expected}.")
    return found


def read_lines(
    path: Path, order: str = "step", faults: Callable[[dict[str, Any]], Iterable[str]] = lambda _: ()
) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file. A last line that was cut off by a crash is left out.

    Args:
        order: The field that every row has, a whole number by which rows are in order.
        faults: What else is wrong with a row, in words.

    Raises:
        RecordError: if any other line is no JSON object, has no such number, a schema that is not known, or a fault.
    """
    for number, (_, row) in enumerate(_parsed(path, order), start=1):
        for fault in faults(row):
            raise RecordError(f"{path} line {number} has {fault}.")
        yield row


def keep_until(paths: Sequence[Path], last: int, order: str = "step") -> None:
    """Drop the rows after the last one to be kept, and a cut-off last line, before a resumed run writes them anew.

    Raises:
        RecordError: if a file has a broken line; then none of them is changed.
    """
    kept = {path: [line for line, row in _parsed(path, order) if row[order] <= last] for path in paths if path.exists()}
    for path, lines in kept.items():
        write(path, "".join(f"{line}\n" for line in lines))


def _parsed(path: Path, order: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines without their ends, and what they say."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # deep brackets, thousands of digits
                if not line.endswith("\n"):
                    return
                raise RecordError(
                    f"{path} line {number} is not JSON ({error}); expected one object a line: without this line the "
                    "others can be read."
                ) from error
            if not isinstance(row, dict) or row.get("schema", SCHEMA) != SCHEMA:
                got = f"schema {row['schema']!r}" if isinstance(row, dict) else type(row).__name__
                raise RecordError(f"{path} line {number} has {got}; expected an object of schema {SCHEMA}.")
            if type(row.get(order)) is not int:
                raise RecordError(f"{path} line {number} has {order} {row.get(order)!r}; expected a whole number.")
            yield line.rstrip("\n"), row


def json_text(value: Any, indent: int | None = None) -> str:
    """As JSON for files and terminals: numbers that it does not know are null, and characters that act are escaped."""
    return visible_json(json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False))


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{json_text(row)}\n" for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
