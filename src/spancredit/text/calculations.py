"""Find calculations in prose: equations and expressions, with units, currency and LaTeX inside them.

An equation has an equals sign, a number, and an operation, a name or a unit; a chain of equations is one calculation,
also over lines that begin with an equals sign. Without an equals sign a calculation is at least two numbers and an
operation that can be no fraction, range, date or compound. A result's unit is left to the text behind it.

Operands, and what repeats inside them, are bounded, so the time is linear.
"""

import re
from collections.abc import Iterator

from spancredit.text.lexemes import read_lexemes

UNIT = r"(?:d?w|\([wv.]{1,8}\)){0,8}"  # sq ft, minutes/smoothie, miles per hour, apples (from Ann)
OPENED, CLOSED = r"(?:n?\(){0,6}[od]?", rf"(?:\)v?{UNIT}){{0,6}}"
NUMBER, NAME = r"(?:nv?|v)", r"(?:w(?=[od=])|(?<=[od])w(?=\)))"
LABEL = r"(?:(?<=[o=])w{1,3})?"  # 8 + Ann's 5
JUXTAPOSED = r"(?<=\))(?=\()"
QUANTITY = f"{OPENED}{NUMBER}{UNIT}{CLOSED}"
OPERAND = f"{OPENED}(?:{LABEL}{NUMBER}|{NAME}){UNIT}{CLOSED}"
CHAIN = re.compile(f"{OPERAND}(?:(?:[od=]|{JUXTAPOSED}){OPERAND})+")
EXPRESSION = re.compile(f"{QUANTITY}(?:(?:[od]|{JUXTAPOSED}){QUANTITY})+")
OPERATION = re.compile(r"[odvw]|n\(")
RESULT_UNIT = "wd"


def find_calculations(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Character ranges of the calculations in `text[start:end]`, in order."""
    lexemes = read_lexemes(text, start, end)
    return [(lexemes.starts[first], lexemes.ends[last - 1]) for first, last in _ranges(lexemes.types)]


def _ranges(types: str) -> Iterator[tuple[int, int]]:
    for chain in CHAIN.finditer(types):
        equation = chain.group().rstrip(RESULT_UNIT)
        if "=" not in equation:
            for found in EXPRESSION.finditer(types, *chain.span()):
                expression = found.group().rstrip(RESULT_UNIT)
                if expression.count("n") > 1 and "o" in expression[1:]:
                    yield found.start(), found.start() + len(expression)
        elif "n" in equation and OPERATION.search(equation):
            yield chain.start(), chain.start() + len(equation)
