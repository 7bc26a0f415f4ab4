"""The equations that GSM8K's authors marked: `48/2 = <<48/2=24>>24`, and where they lie once the marks are gone.

A mark is

    as written    if its numbers stand before it in this order with an equals sign behind them;
                  the equation reaches from the first number to the result
    rewritten     if an equals sign stands before it, but other numbers do (30% for 30/100, x = 5);
                  the equation reaches from the last word before the equals sign to the result
    no equation   if no equals sign stands between its numbers and the result ("half of 4 is 2")
"""

import ast
import operator
import re
from dataclasses import dataclass
from fractions import Fraction

MARK = re.compile(r"<<([^<>]*)>>")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
RESULT = re.compile(r"[\s$€¢]{0,2}-?\$?[\d,]*\.?\d+")
LAST_WORD = re.compile(r"[\w.]+[^\w\n]*$")
EQUALS = re.compile(r"=|\bequals\b")
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
SIGNS = str.maketrans("×÷−–", "*/--")


@dataclass(frozen=True)
class Marked:
    """A marked equation: what the mark says, how it is written in the text, and `text[start:end]`."""

    mark: str
    form: str
    start: int
    end: int


def read_marks(solution: str) -> tuple[str, list[Marked]]:
    """The solution without its marks, and where each equation lies in it."""
    text, marks, done = "", [], 0
    for match in MARK.finditer(solution):
        text += solution[done : match.start()]
        marks.append((len(text), match.group(1)))
        done = match.end()
    text += solution[done:]
    return text, [_located(text, at, mark) for at, mark in marks]


def _located(text: str, at: int, mark: str) -> Marked:
    left = mark.rpartition("=")[0]
    line = text.rfind("\n", 0, at) + 1
    result = RESULT.match(text, at)
    end = result.end() if result else at
    numbers = [_value(number) for number in NUMBER.findall(left)]
    written = list(NUMBER.finditer(text, line, at))[-len(numbers) :]
    same = bool(written) and [_value(match.group()) for match in written] == numbers
    behind = text[written[-1].end() if same else line : at]
    signs = list(EQUALS.finditer(behind))
    if not signs:
        return Marked(mark, "no equation", at, end)
    if same:
        return Marked(mark, "as written", written[0].start(), end)
    equals = at - len(behind) + signs[-1].start()
    word = LAST_WORD.search(text, max(line, equals - 60), equals)
    return Marked(mark, "rewritten", word.start() if word else equals, end)


def _value(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))


def worked_out(piece: str) -> bool | None:
    """Whether both sides of an equation of plain numbers agree to a hundredth; None if it is no such equation."""
    if re.search(r"\d[A-Za-z]\b|\b[B-HJ-Zb-wyz]\b|\bx\b(?!\s?[\d($])", piece):
        return None  # algebra
    plain = (
        re.sub(r"(?<=[\d)\s%])[xX×](?=\s?[\d($.])", "*", piece).replace("÷", "/").replace("−", "-").replace("–", "-")
    )
    plain = re.sub(r"(?<=[\d)\s%])[xX](?=\s?[\d($.])", "*", piece.translate(SIGNS))
    plain = re.sub(r"(\d),(?=\d{3})", r"\1", plain)
    plain = re.sub(r"([\d.]+)%", r"(\1/100)", plain)
    plain = re.sub(r"/\s*[A-Za-z]+|(?!equals\b)[A-Za-z]+|(?!equals\b)\b[A-Za-z]+|[$€¢°\\]", " ", plain)
    found = [_calculated(side) for side in EQUALS.split(plain.strip(" .,;:\n"))]
    sides = [side for side in found if side is not None]
    if len(found) < 2 or len(sides) < len(found):
        return None
    return all(abs(side - sides[0]) <= max(abs(sides[0]) / 100, Fraction(1, 100)) for side in sides[1:])


def _calculated(side: str) -> Fraction | None:
    """The value of numbers, the four operations and parentheses; None for anything else."""
    try:
        return _evaluated(ast.parse(side.strip(), mode="eval").body)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError):
        return None


def _evaluated(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as value):
            return Fraction(str(value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            return OPERATIONS[type(sign)](_evaluated(left), _evaluated(right))
    raise ValueError
