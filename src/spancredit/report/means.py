"""Means over the metrics of a run's steps."""

from collections.abc import Sequence
from typing import Any

from spancredit.crediting import EXECUTION, GIVEN

TESTS = "of the tests"


def drop_keys(metrics: Sequence[dict[str, Any]]) -> list[str]:
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


def exchanged(metrics: Sequence[dict[str, Any]]) -> bool:
    """Whether drops are of exchanges: what one of two programs gains the other loses, so that means are nothing."""
    return any(row.get("credit/method/exchange") for row in metrics)


def unit_of(metrics: Sequence[dict[str, Any]]) -> str:
    """What the mean drops of a run are."""
    by_tests = any(row.get(f"credit/method/{method}") for row in metrics for method in EXECUTION)
    given = any(row.get(f"credit/method/{GIVEN}") for row in metrics)
    return TESTS if by_tests else "in their own unit" if given else "nats"
