"""Segmenters: cut the reasoning into spans that tile it. Disjoint, in order, no token lost.

A text segmenter maps a text to pieces `(start, end, kind)` in characters that tile it; `segment` turns pieces into
token spans, splits the long and merges the many. All of it is linear in the length of the text.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Protocol

from spancredit.names import Segmenter
from spancredit.text.align import AlignedText
from spancredit.text.calculations import find_calculations
from spancredit.text.code import calculates, cut_lines, inside_fences, prose_and_code
from spancredit.text.python import cut_python
from spancredit.text.sentences import cut_sentences
from spancredit.types import Span

Piece = tuple[int, int, str]


class SpanLimits(Protocol):
    """The part of `CreditConfig` that a segmenter reads."""

    @property
    def segmenter(self) -> Segmenter: ...
    @property
    def max_spans(self) -> int: ...
    @property
    def max_span_tokens(self) -> int: ...
    @property
    def window_tokens(self) -> int: ...


def segment(aligned: AlignedText, end: int, limits: SpanLimits, token_limit: int) -> list[Span]:
    """Spans that tile the reasoning `aligned.plain[:end]`, none of them reaching token `token_limit`."""
    if limits.segmenter == "window":
        size = min(aligned.tile([0, end])[0][1], token_limit)
        step = limits.window_tokens
        ranges = [(i, min(i + step, size), "window") for i in range(0, size, step)]
    else:
        pieces = PIECES[limits.segmenter](aligned.plain[:end])
        tiles = aligned.tile([0, *(stop for _, stop, _ in pieces)])
        ranges = [(a, min(b, token_limit), kind) for (a, b), (_, _, kind) in zip(tiles, pieces, strict=True)]
    ranges = [part for piece in ranges for part in _split(piece, limits.max_span_tokens) if part[0] < part[1]]
    ranges = _merge(ranges, limits.max_spans)
    return [Span(a, b, kind, aligned.text[aligned.starts[a] : aligned.ends[b - 1]]) for a, b, kind in ranges]


def steps(text: str) -> list[Piece]:
    """Calculations, and the sentences or parts of sentences around them; of fenced code the lines, each in one."""
    cuts = []
    for start, end, is_code in _sentences_and_code(text):
        if is_code:
            cuts.append((start, end, "calculation" if calculates(text[start:end]) else "text"))
            continue
        for first, last in find_calculations(text, start, end):
            cuts += [(start, first, "text"), (first, last, "calculation")]
            start = last
        cuts.append((start, end, "text"))
    return _absorb_marks(text, cuts)


def sentences(text: str) -> list[Piece]:
    """Sentences; a line break ends one too, a decimal point or an abbreviation does not. Of fenced code the lines."""
    return _absorb_marks(text, [(start, end, "text") for start, end, _ in _sentences_and_code(text)])


def lines(text: str) -> list[Piece]:
    """Lines, each with its line break."""
    return _absorb_marks(text, [(start, end, "line") for start, end in cut_lines(text, 0, len(text))])


def python(text: str) -> list[Piece]:
    """Statements of fenced code, or of all of it where nothing is fenced; of the prose around it the sentences."""
    parts = list(prose_and_code(text))
    if not any(is_code for _, _, is_code in parts):
        return cut_python(text, 0, len(text)) or [(0, 0, "text")]
    cuts: list[Piece] = []
    for start, end, is_code in parts:
        if is_code:
            first, last = inside_fences(text, start, end)
            cuts += [(start, first, "text"), *cut_python(text, first, last), (last, end, "text")]
        else:
            prose = text[start:end]
            pieces = _absorb_marks(prose, [(a, b, "text") for a, b in cut_sentences(prose, 0, len(prose))])
            cuts += [(start + a, start + b, kind) for a, b, kind in pieces]
    return [cut for cut in cuts if cut[0] < cut[1]]


def _sentences_and_code(text: str) -> Iterator[tuple[int, int, bool]]:
    for start, end, is_code in prose_and_code(text):
        for first, last in (cut_lines if is_code else cut_sentences)(text, start, end):
            yield first, last, is_code


PIECES: dict[str, Callable[[str], list[Piece]]] = {
    "steps": steps,
    "sentence": sentences,
    "line": lines,
    "python": python,
}


def _absorb_marks(text: str, pieces: list[Piece]) -> list[Piece]:
    """Give a piece without a letter or digit to the one before it; what begins a line (`- `, `$$`) to the one after."""
    kept: list[Piece] = []
    lead: int | None = 0
    for start, end, kind in pieces:
        if start == end:
            continue
        if any(map(str.isalnum, text[start:end])):
            kept.append((start if lead is None else lead, end, kind))
            lead = None
        elif lead is None and text[start - 1] == "\n" and not text[start:end].endswith("\n"):
            lead = start
        elif lead is None:
            kept[-1] = (kept[-1][0], end, kept[-1][2])
    if kept:
        kept[-1] = (kept[-1][0], len(text), kept[-1][2])
    return kept or [(0, len(text), "text")]


def _split(piece: Piece, most: int) -> list[Piece]:
    start, end, kind = piece
    parts = math.ceil((end - start) / most)
    bounds = [start + (end - start) * i // max(parts, 1) for i in range(parts + 1)]
    return [(a, b, kind) for a, b in itertools.pairwise(bounds)]


def _merge(ranges: list[Piece], most: int) -> list[Piece]:
    """Merge the shortest pairs of neighbours until `most` are left, so the end of a long text is still measured."""
    while len(ranges) > most:
        surplus = len(ranges) - most
        joined: set[int] = set()  # i means: ranges[i] and ranges[i + 1] become one
        for i in sorted(range(len(ranges) - 1), key=lambda i: ranges[i + 1][1] - ranges[i][0]):
            if len(joined) < surplus and joined.isdisjoint((i - 1, i, i + 1)):
                joined.add(i)
        pairs = [
            (ranges[i], ranges[i + 1]) if i in joined else (ranges[i],)
            for i in range(len(ranges))
            if i - 1 not in joined
        ]
        ranges = [(p[0][0], p[-1][1], max(p, key=lambda piece: piece[1] - piece[0])[2]) for p in pairs]
    return ranges
