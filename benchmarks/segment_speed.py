"""How long the segmenters take on text that is made to be slow for patterns."""

import time

from spancredit.text.segment import PIECES

PATTERNS = {
    "digits": "1",
    "digits with spaces": "1 ",
    "thousands": "1,111",
    "dots": ".",
    "marks": '.!?")',
    "decimal points": "1.",
    "parentheses": "(",
    "closing parentheses": "1)",
    "nested sums": "(1+(1+(1+",
    "coefficients": "2(",
    "empty parentheses": "1(a)",
    "sums": "1+",
    "sums with units": "1 a b c/d + ",
    "words": "aa ",
    "words and slashes": "aa/",
    "names": "aa = ",
    "variables": "x + ",
    "spaces": " ",
    "spaces and line breaks": "   \n",
    "line breaks": "\n",
    "line breaks and equals signs": "\n\n=",
    "lines that go on": "1 =\n",
    "braces": "{",
    "closing braces": "}{",
    "equals signs": "=",
    "fractions": "\\frac{",
    "texts": "\\text{ab ",
    "backslashes": "\\\\",
    "stars": "*",
    "bullets": "\n- ",
    "list numbers": "1. ",
    "fences": "```\n",
    "half fences": "```a\n~~~\n",
    "quotes in code": "```\n" + "'\"",
    "tags": "<think>",
    "half tags": "<think",
    "full stops": "。",
    "apostrophes": "a'",
    "backticks": "`",
    "table": "| 1 ",
}


def long_text(pattern: str, size: int) -> str:
    return (pattern * (size // len(pattern) + 1))[:size]


def seconds(name: str, size: int) -> dict[str, float]:
    """CPU seconds of each text segmenter over one pattern repeated to `size` characters."""
    text, found = long_text(PATTERNS[name], size), {}
    for segmenter, cut in PIECES.items():
        start = time.process_time()
        cut(text)
        found[segmenter] = time.process_time() - start
    return found
