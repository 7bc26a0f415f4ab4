"""From a rollout to its spans and answer, as token ranges: found in the text, or given by the caller."""

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from transformers import PreTrainedTokenizerBase

from spancredit.errors import RolloutError
from spancredit.text.align import AlignedText, align, said
from spancredit.text.answers import locate_answer
from spancredit.text.segment import SpanLimits, segment
from spancredit.types import Rollout, Span
from spancredit.validation import plain, short, told

Ranges = Sequence[tuple[int, int] | Span]
FIND: Final = "find"


class TextSettings(SpanLimits, Protocol):
    """The part of `CreditConfig` that decides where spans and answer are."""

    @property
    def answer_pattern(self) -> str | None: ...


def locate_reasoning(
    index: int,
    rollout: Rollout,
    tokenizer: PreTrainedTokenizerBase | None,
    settings: TextSettings,
    spans: Ranges | str = FIND,
    answer: tuple[int, int] | Span | str | None = FIND,
) -> tuple[list[Span], Span | None]:
    """Spans of the reasoning and the answer; no span without an answer. `FIND` looks for them in the text.

    Raises:
        RolloutError: if given ranges overlap, are out of order, leave the completion or do not precede the answer.
    """
    size = len(rollout.completion_ids)
    aligned = align(tokenizer, rollout.completion_ids) if tokenizer is not None else None
    reasoning_end = None
    if _to_find(answer) and aligned is not None:
        match = locate_answer(aligned.plain, settings.answer_pattern)
        first, last = aligned.tokens_of(match.start, match.end) if match else (0, 0)
        found = _span(aligned, first, last, "answer") if first < last else None
        reasoning_end = match.reasoning_end if match else None
    else:
        found = _given(index, [answer], size, "answer", aligned)[0] if answer is not None else None
    if found is None:
        return [], None
    if not _to_find(spans):
        return _given(index, spans, found.start, "span", aligned, "before the answer"), found
    assert aligned is not None  # check_own_ranges: without a tokenizer both are given
    if reasoning_end is None:
        reasoning_end = aligned.starts[found.start]
    return segment(aligned, reasoning_end, settings, found.start), found


def locate_all(
    index: int,
    rollout: Rollout,
    tokenizer: PreTrainedTokenizerBase | None,
    settings: TextSettings,
    spans: Ranges | str = FIND,
) -> tuple[list[Span], int]:
    """Spans of a completion that has no answer in it, and how many of its tokens say something.

    Raises:
        RolloutError: if given ranges overlap, are out of order or leave the completion.
    """
    if tokenizer is None:
        return given_spans(index, spans, len(rollout.completion_ids)), len(rollout.completion_ids)
    size = said(tokenizer, rollout.completion_ids)
    aligned = align(tokenizer, rollout.completion_ids[:size])
    if not _to_find(spans):
        return _given(index, spans, size, "range", aligned, "before what ends the completion"), size
    return segment(aligned, len(aligned.plain), settings, size) if size else [], size


def given_spans(index: int, ranges: Any, size: int) -> list[Span]:
    """Own ranges of a completion of `size` tokens as spans.

    Raises:
        RolloutError: if they overlap, are out of order or leave the completion.
    """
    return _given(index, ranges, size, "range", None)


def _to_find(given: Any) -> bool:
    """Whether ranges are to be looked for; arrays would be compared value by value."""
    return isinstance(given, str) and given == FIND


def _given(
    index: int, ranges: Any, limit: int, what: str, aligned: AlignedText | None, where: str = "inside the completion"
) -> list[Span]:
    """Own ranges as spans, checked: non-empty, in order, disjoint, inside `[0, limit)`."""
    try:
        listed = plain(ranges)
    except TypeError:
        raise RolloutError(
            f"rollout {index} has {told(ranges)} for its {what}s; expected pairs (start, end)."
        ) from None
    spans: list[Span] = []
    for given in listed:
        try:
            start, end = map(operator.index, (given.start, given.end) if isinstance(given, Span) else plain(given))
        except (TypeError, ValueError):
            raise RolloutError(
                f"rollout {index} has {what} {short(given)}; expected a pair (start, end) of whole numbers."
            ) from None
        if not 0 <= start < end <= limit:
            raise RolloutError(
                f"rollout {index} has {what} ({start}, {end}); expected 0 <= start < end <= {limit}, {where}."
            )
        if spans and start < spans[-1].end:
            raise RolloutError(
                f"rollout {index} has span ({start}, {end}) after span ({spans[-1].start}, {spans[-1].end}); "
                "expected spans in order that do not overlap."
            )
        kind = given.kind if isinstance(given, Span) and what != "answer" else what
        own = aligned is None and isinstance(given, Span)
        spans.append(replace(given, start=start, end=end) if own else _span(aligned, start, end, kind))
    return spans


def _span(aligned: AlignedText | None, start: int, end: int, kind: str) -> Span:
    return Span(start, end, kind, aligned.text[aligned.starts[start] : aligned.ends[end - 1]] if aligned else "")
