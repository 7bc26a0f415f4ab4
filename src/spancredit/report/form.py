"""What keeps a row that was read from being shown, in words: types, lengths, places that are not in the completion."""

import math
from collections.abc import Callable, Iterator
from typing import Any

SPAN = ("kind", "text")
MEASURED = ("drop", "importance", "weight")  # of a span; null where it is no finite number
NUMBERS = ("reward", "advantage", "answer_logp")
WORDS = ("reason", "method")
PROBE = ("suffix", "value")
INTERVAL = ("low", "high")
EVER = ("reward", "advantage", "answer_logp", "reason", "answer")  # in every record since the first
COUNTS = ("tokens", "forwards")  # of the cost


def of_record(record: dict[str, Any]) -> Iterator[str]:
    """What keeps a record from being shown."""
    if not isinstance(record.get("prompt"), str):
        yield _got(record, "prompt", "a text")
    for name in EVER:
        if name not in record:
            yield _got(record, name, "one, or null")
    for name in WORDS:
        if not isinstance(record.get(name), str | None):
            yield _got(record, name, "a text or null")
    for name in NUMBERS:
        if record.get(name) is not None and not is_number(record[name]):
            yield _got(record, name, "a finite number or null")
    probe = record.get("probe")
    if probe is not None and not (isinstance(probe, dict) and all(isinstance(probe.get(name), str) for name in PROBE)):
        yield _got(record, "probe", "texts of a suffix and a value, or null")
    if not isinstance(record.get("right"), bool | None):
        yield _got(record, "right", "true, false or null")
    if not _is_list(record.get("tokens"), lambda one: isinstance(one, str)):
        yield _got(record, "tokens", "a list of texts")
        return
    if not _is_list(record.get("token_weights"), is_number):
        yield _got(record, "token_weights", "a list of finite numbers")
    elif len(record["token_weights"]) != len(record["tokens"]):
        yield f"{len(record['token_weights'])} token_weights for {len(record['tokens'])} tokens; expected one each"
    yield from _of_places(record, len(record["tokens"]))
    cost = record.get("cost")
    if not isinstance(cost, dict) or not all(is_whole(cost.get(name)) for name in COUNTS):
        yield _got(record, "cost", "whole numbers of tokens and forwards")


def of_metrics(row: dict[str, Any]) -> Iterator[str]:
    """What keeps a step's metrics from being averaged and drawn."""
    for name, value in row.items():
        if value is not None and not is_number(value):
            yield _got(row, name, "a finite number or null")


def of_accuracy(row: dict[str, Any]) -> Iterator[str]:
    """What keeps a held-out accuracy from being shown."""
    for name in ("accuracy", *(name for name in (*INTERVAL, "sampled") if name in row)):
        if not is_number(row.get(name)):
            yield _got(row, name, "a finite number")
    if not isinstance(row.get("text", ""), str):
        yield _got(row, "text", "a text")


def of_problem(row: dict[str, Any]) -> Iterator[str]:
    """What keeps a problem of an evaluation from being counted."""
    if not _is_list(row.get("samples"), lambda one: isinstance(one, dict)):
        yield _got(row, "samples", "a list of completions")
    elif not isinstance(row.get("greedy"), dict):
        yield _got(row, "greedy", "a completion")
    else:
        for one in (row["greedy"], *row["samples"]):
            for name in ("right", "truncated"):
                if not isinstance(one.get(name), bool):
                    yield _got(one, name, "true or false")
            if not isinstance(one["read"] if "read" in one else one.get("status", 0), str | None):
                yield "a completion without an answer that was read, and without a status; expected one of both"


def is_number(value: Any) -> bool:
    """Whether it is one, and finite as a float."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and is_number(value)


def _of_places(record: dict[str, Any], tokens: int) -> Iterator[str]:
    """Of the answer and the spans."""
    spans: Any = record.get("spans")
    if not _is_list(spans, lambda one: isinstance(one, dict)):
        yield _got(record, "spans", "a list of spans")
        return
    if not isinstance(record.get("answer"), dict | None):
        yield _got(record, "answer", "a span or null")
        return
    answer = [] if record.get("answer") is None else [record["answer"]]
    for what, span in [*(("an answer", one) for one in answer), *(("a span", one) for one in spans)]:
        start, end = span.get("start"), span.get("end")
        least = what == "an answer"  # whose first token's weight is shown
        if not (is_whole(start) and is_whole(end) and 0 <= start <= end - least and end <= tokens):
            yield f"{what} from {start!r:.40} to {end!r:.40}; expected a place within its {tokens} tokens"
        if not all(isinstance(span.get(name), str) for name in SPAN):
            yield f"{what} without kind or text; expected both"
        if what == "a span" and not all(_is_measured(span, name) for name in MEASURED):
            yield f"{what} whose drop, importance or weight is no number; expected finite numbers or null"


def _is_measured(span: dict[str, Any], name: str) -> bool:
    return name in span and (span[name] is None or is_number(span[name]))


def _is_list(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(holds(one) for one in value)


def _got(row: dict[str, Any], name: str, expected: str) -> str:
    got = f"{name} {row[name]!r:.40}" if name in row else f"no {name}"
    return f"{' '.join(got.split())}; expected {expected}"
