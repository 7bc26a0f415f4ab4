"""Where the answer is, or that there is none.

The answer is the value itself: a number with its sign, separators and decimals but without currency, unit or
percent sign; or, between delimiters, whatever stands there. Markers, end-of-sequence and padding are never part of it.
The last marker that has a value counts; a worded one ("the final answer is") only where no explicit one does. Where
the last explicit markers all carry one value, as in `\\boxed{18}` and then `#### 18`, the first of them is the answer:
what stands after it copies it, whatever the reasoning was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile, zip_longest


@dataclass(frozen=True)
class AnswerMatch:
    """Character ranges: the reasoning is `text[:reasoning_end]`, the answer is `text[start:end]`.

    What stands between them, the marker, is neither.
    """

    reasoning_end: int
    start: int
    end: int


LONGEST_MARKER = 40  # characters; what a pattern matches further before its group is reasoning
CURRENCY = "$€£¥₹¢"
NUMBER = (
    rf"(?:[-+\u2212](?:\\?[{CURRENCY}])?)?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)?(?:\.\d+|(?<=\d))(?:\s?/\s?\d+)?(?!,?\d|\.\d)"
)
LATEX_NUMBER = r"[-+\u2212]?\\[dt]?frac\{[^{}]{1,40}\}\{[^{}]{1,40}\}"
BEFORE_VALUE = rf"(?:[\s*_`~\"'(\[]|\\?[{CURRENCY}]|\\[(\[]|\\text\{{[^{{}}]{{0,20}}\}}|[A-Za-z]\w{{0,2}}\s*=(?!=))*"
LEADING_VALUE = re.compile(rf"{BEFORE_VALUE}({LATEX_NUMBER}|{NUMBER})")
UNIT = re.compile(
    r"(?:\^\{?\\circ\}?)?"
    rf"(?:[\s\\%°.,;:!?)\]*_{CURRENCY}][\s\\%°.,;:!?()\]*_^{{}}a-zA-Z²³{CURRENCY}]*)?"
)

COMMAND = re.compile(r".*\\(?!text|mathrm|mbox|circ|degree)[a-z]")  # on a unit's first line: it is none
MARKUP_BEFORE, MARKUP_BEHIND = " \t\r\n\f\v*_`$#", " \t\r\n\f\v*_`$.,;:!"
SOMETHING = re.compile(r"\S")

TAG = re.compile(r"<answer>((?:(?!<answer>).)*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
HASHES = re.compile(r"#{4,}([^\n#]*)")
WORDED = re.compile(
    r"\b(?:the\s)?(?:final\s)?answer(?:\sis)?\s{0,2}(?:\*\*)?(?::|=|(?<=\sis)|(?<=\sis\s))(?=([^\n]{0,200}))",
    re.IGNORECASE,
)
LIST_ITEM = re.compile(r"[.)]\s+\S")
CHOICE = re.compile(r"[\s*_]*(\(?[A-E]\)?)(?![\w'])")
BOX_OR_BRACE = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def locate_answer(text: str, pattern: str | None = None) -> AnswerMatch | None:
    """Find the answer in a completion's text; `pattern` replaces the known markers (see `CreditConfig`)."""
    if pattern is not None:
        return _by_pattern(text, pattern)
    boxes = _boxes(text)
    explicit = sorted([*_tags(text), *_hashes(text, boxes), *boxes], key=_place, reverse=True)
    if not explicit:
        return max(_worded(text), key=_place, default=None)
    last = explicit[0]
    same = list(takewhile(lambda match: last.end <= match.end or _equal(text, match, last), explicit))
    first = next(match for match in reversed(same) if _equal(text, match, last))
    return AnswerMatch(min(match.reasoning_end for match in same), first.start, first.end)


def _place(match: AnswerMatch) -> tuple[int, int]:
    return match.start, match.reasoning_end


def _equal(text: str, one: AnswerMatch, other: AnswerMatch) -> bool:
    """Whether two values are the same but for separators and `.00`. Nothing is read behind their first difference."""
    return all(a == b for a, b in zip_longest(_digits(text, one), _digits(text, other)))


def _digits(text: str, match: AnswerMatch) -> Iterator[str]:
    point = match.end
    while point > match.start and text[point - 1] == "0":
        point -= 1
    fraction = point < match.end and point > match.start and text[point - 1] == "."
    end = point - 1 if fraction else match.end
    return (text[i] for i in range(match.start, end) if text[i] != ",")


def _by_pattern(text: str, pattern: str) -> AnswerMatch | None:
    match = next((m for m in reversed(list(re.finditer(pattern, text))) if m.group().strip()), None)
    if match is None:
        return None
    group: str | int = "answer" if "answer" in match.groupdict() else min(1, len(match.groups()))
    if not (match.group(group) or "").strip():
        return None
    start = match.start(group)
    return AnswerMatch(match.start() if start - match.start() <= LONGEST_MARKER else start, *match.span(group))


def _tags(text: str) -> list[AnswerMatch]:
    return [found for m in TAG.finditer(text) if (found := _delimited(text, m.start(), *m.span(1)))]


def _hashes(text: str, boxes: list[AnswerMatch]) -> list[AnswerMatch]:
    """A number with its unit after the hashes; anything else only on the last line if no box stands before it.

    Elsewhere it is a heading.
    """
    found, last = [], len(text.rstrip())
    first_box = min((box.end for box in boxes), default=last)
    for m in HASHES.finditer(text):
        line = _delimited(text, m.start(), *m.span(1))
        value = LEADING_VALUE.match(text, *m.span(1))
        number = value is not None and line is not None and value.span(1) == (line.start, line.end)
        numbered = value is not None and LIST_ITEM.match(text, value.end(1), m.end())
        if line is not None and not numbered and (number or (m.end() >= last and m.start() < first_box)):
            found.append(line)
    return found


def _boxes(text: str) -> list[AnswerMatch]:
    found, open_braces = [], []
    for match in BOX_OR_BRACE.finditer(text):
        if match.group().endswith("{") and match.group() != "\\{":
            open_braces.append(match)
        elif match.group() == "}" and open_braces:
            opening = open_braces.pop()
            if len(opening.group()) > 1 and (box := _delimited(text, *opening.span(), match.start())):
                found.append(box)
    return found


def _worded(text: str) -> list[AnswerMatch]:
    found = []
    for match in WORDED.finditer(text):
        start, end = match.span(1)
        if value := LEADING_VALUE.match(text, start, end) or CHOICE.match(text, start, end):
            found.append(AnswerMatch(match.start(), *value.span(1)))
    return found


def _delimited(text: str, marker: int, start: int, end: int) -> AnswerMatch | None:
    """The number between two delimiters if nothing but currency and unit surrounds it, else all that stands there."""
    value = LEADING_VALUE.match(text, start, end)
    if value and UNIT.fullmatch(text, value.end(), end) and not COMMAND.match(text, value.end(), end):
        return AnswerMatch(marker, *value.span(1))
    return _stripped(text, marker, start, end)


def _stripped(text: str, marker: int, start: int, end: int) -> AnswerMatch | None:
    """Nothing between the ends is looked at, since boxes may stand in boxes."""
    while start < end and text[start] in MARKUP_BEFORE:
        start += 1
    while start < end and text[end - 1] in MARKUP_BEHIND:
        end -= 1
    return AnswerMatch(marker, start, end) if SOMETHING.search(text, start, end) else None
