"""Records: rollouts with their credit as versioned JSON lines, the one tree that every view is made from."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from spancredit.counterfactual.measure import BLAME, PROXIES
from spancredit.crediting import EXECUTION, GIVEN
from spancredit.errors import RecordError
from spancredit.report.visible import visible_json
from spancredit.text.align import align
from spancredit.types import Credit, Rollout

SCHEMA = 1
TESTS = "of the tests"


def make_record(
    rollout: Rollout, credit: Credit, tokenizer: PreTrainedTokenizerBase, step: int, reward: float | None = None
) -> dict[str, Any]:
    """One rollout with its credit as plain data.

    `tokens` are pieces of text that join to the completion, one for each weight in `token_weights`; a character that
    several tokens share stands at the last of them. Drops and log-probabilities are in nats.
    """
    aligned = align(tokenizer, rollout.completion_ids) if len(rollout.completion_ids) else None
    ends = [*aligned.starts[1:], len(aligned.text)] if aligned else []
    return {
        "schema": SCHEMA,
        "step": step,
        "prompt": tokenizer.decode(list(rollout.prompt_ids), skip_special_tokens=False),
        "tokens": [aligned.text[a:b] for a, b in zip(aligned.starts, ends, strict=True)] if aligned else [],
        "token_weights": [round(weight, 6) for weight in credit.token_weights.tolist()],
        "reward": reward,
        "advantage": rollout.advantage,
        "reason": credit.reason,
        "method": credit.method,
        "answer": asdict(credit.answer) if credit.answer else None,
        "answer_logp": credit.answer_logp,
        "spans": [asdict(span) for span in credit.spans],
        "cost": asdict(credit.cost),
    }


def measure_of(record: dict[str, Any]) -> str:
    """What its spans' drops are: nats, a share of tests, or a proxy's score."""
    method = record.get("method")
    if method in EXECUTION:
        return f"drop {TESTS}"
    if method == GIVEN:
        return "drop"
    return "surprisal" if method == BLAME else str(method) if method in PROXIES else "drop (nats)"


def unit_of(metrics: Sequence[dict[str, Any]]) -> str:
    """What the mean drops of a run are."""
    by_tests = any(row.get(f"credit/method/{method}") for row in metrics for method in EXECUTION)
    given = any(row.get(f"credit/method/{GIVEN}") for row in metrics)
    return TESTS if by_tests else "in their own unit" if given else "nats"


def append_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to a JSON-lines file in one write. Numbers that JSON does not know become null."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(rows))


def write(path: Path, text: str) -> None:
    """All of it or nothing, whenever the process ends or the disk is full."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)


def is_json(path: Path) -> bool:
    """Whether all of a file is one JSON value."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def read_lines(path: Path, order: str = "step") -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file. A last line that was cut off by a crash is left out.

    Args:
        order: The field that every row has, a whole number by which rows are in order.

    Raises:
        RecordError: if any other line is no JSON object, has no such number, or a schema that is not known.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                if not line.endswith("\n"):
                    return
                raise RecordError(
                    f"{path} line {number} is not JSON ({error}); expected one object a line: without this line the "
                    "others can be read."
                ) from error
            if not isinstance(row, dict) or row.get("schema", SCHEMA) != SCHEMA:
                got = f"schema {row['schema']!r}" if isinstance(row, dict) else type(row).__name__
                raise RecordError(f"{path} line {number} has {got}; expected an object of schema {SCHEMA}.")
            if not isinstance(row.get(order), int):
                raise RecordError(f"{path} line {number} has {order} {row.get(order)!r}; expected a whole number.")
            yield row


def drop_keys(metrics: list[dict[str, Any]]) -> list[str]:
    """The metrics that hold a mean drop, one for each kind of span that was scored."""
    return sorted({key for row in metrics for key in row if key.startswith("credit/drop/")})


def mean_of(metrics: Sequence[dict[str, Any]], key: str) -> float | None:
    """Of the rows that have this metric; None if none has."""
    values = [row[key] for row in metrics if row.get(key) is not None]
    return sum(values) / len(values) if values else None


def time_share(metrics: Sequence[dict[str, Any]], phase: str) -> float | None:
    """Share of the optimizer steps' seconds that a phase took, which not every step needs to have had."""
    timed = [row for row in metrics if row.get("step_time") and row.get(f"{phase}/seconds") is not None]
    return sum(row[f"{phase}/seconds"] for row in timed) / sum(row["step_time"] for row in timed) if timed else None


def keep_until(paths: Sequence[Path], last: int, order: str = "step") -> None:
    """Drop the rows after the last one to be kept, and a cut-off last line, before a resumed run writes them anew.

    Raises:
        RecordError: if a file has a broken line; then none of them is changed.
    """
    kept = {path: [row for row in read_lines(path, order) if row[order] <= last] for path in paths if path.exists()}
    for path, rows in kept.items():
        write(path, _lines(rows))


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(visible_json(json.dumps(_plain(row), ensure_ascii=False)) + "\n" for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
