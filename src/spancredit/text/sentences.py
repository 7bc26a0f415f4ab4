"""Cut prose into sentences. Linear time."""

import re
from itertools import pairwise

ABBREVIATIONS = r"(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)(?<!\bsq)"
GOES_ON = r"(?![^\S\n]{0,2}[=+*×÷−–-]\s)"  # 3 lbs. + 4 lbs. = 7 lbs.
LINE_GOES_ON, NEXT_LINE_GOES_ON = r"(?<![^=]=)(?<![^=]=\s)", r"(?![^\S\n]{0,80}&?[^\S\n]?(?:=(?!=)|[≈＝]|\\approx))"
TAG = r"</?(?:think|thinking|thought|reasoning|reflection|solution|answer)>"
SENTENCE_END = re.compile(
    rf"(?=[.!?]){ABBREVIATIONS}(?<![.!?])[.!?]+[\"')\]*_]*(?=\s|$|{TAG}){GOES_ON}"
    rf"|[。！？]+[”」』]?|(?<!\n){LINE_GOES_ON}\n+(?!\n){NEXT_LINE_GOES_ON}|{TAG}|.(?={TAG})"
)
LIST_NUMBER = re.compile(r"[\s*_#>-]{0,20}\d{1,3}\.[*_]*$")


def cut_sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Sentences of `text[start:end]`, tiling it.

    A line break or a tag such as `<think>` ends one too. A decimal point, an abbreviation, a list's number and a line
    break beside an equals sign do not.
    """
    bounds = [start]
    for match in SENTENCE_END.finditer(text, start, end):
        line = text.rfind("\n", bounds[-1], match.start()) + 1 or bounds[-1]
        if not (match.end() - line < 24 and LIST_NUMBER.match(text, line, match.end())):
            bounds.append(match.end())
    return list(pairwise([*bounds, end]))
