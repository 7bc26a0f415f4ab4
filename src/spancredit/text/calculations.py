"""Find calculations in a sentence: equations and expressions, with units, currency and LaTeX inside them.

The sentence is read into lexemes, each lexeme becomes one character for its type, and a calculation is a regular
expression over those types. Every repetition is bounded or unambiguous, so the time is linear.
"""

import re

LEXEME = re.compile(
    r"""
    (?P<number> (?:\\?[$€£¥₹]\s?)? (?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d)) (?:\.\d+)? (?:\\?%|°)?
        | \\[dt]?frac\{[^{}]{1,40}\}\{[^{}]{1,40}\} )
    | (?P<equals> ==?|≈|\\approx(?![a-z]) )
    | (?P<operator> [+\-−–*/×÷·^] | \\(?:times|cdot|div)(?![a-z])
        | (?<=[\d\s)%])[xX](?=\s?[\d$(]) | (?<=[%\d]\s)of(?=\s[\d$]) )
    | (?P<open> [(\[{] | \\left[(\[] ) | (?P<close> [)\]}] | \\right[)\]] )
    | (?P<word> [^\W\d_]+ )
    | (?P<space> (?:[^\S\n]|~|\\[,; ])+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
TYPES = {"number": "n", "equals": "=", "operator": "o", "open": "(", "close": ")", "word": "w", "space": " "}

OPERAND = r"(?:[(] ?){0,4}o?n(?: ?[)]){0,4}"
CALCULATION = re.compile(rf"(?:w ?= ?)?(?:{OPERAND}(?: ?w){{0,3}}(?: ?[)]){{0,4}} ?[o=] ?)+{OPERAND}|w ?= ?{OPERAND}")


def find_calculations(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Character ranges of the calculations in `text[start:end]`, in order."""
    lexemes = list(LEXEME.finditer(text, start, end))
    types = "".join(TYPES.get(m.lastgroup or "", ".") for m in lexemes)
    found = []
    for match in CALCULATION.finditer(types):
        inside = lexemes[match.start() : match.end()]
        if _computes(match.group(), [m.group() for m in inside]):
            found.append((inside[0].start(), inside[-1].end()))
    return found


def _computes(types: str, lexemes: list[str]) -> bool:
    """An equation with an operation, a unit or a name in it, or an operation that is no fraction, range or date."""
    if "=" in types:
        return "o" in types or "w" in types
    clear = [i for i, kind in enumerate(types) if kind == "o" and lexemes[i] not in ("-", "−", "–", "/")]
    spaced = re.search(r"n[ )]* o [ (]*n", types)
    return bool(spaced or any(i > 0 for i in clear))
