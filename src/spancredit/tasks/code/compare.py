"""Whether what a candidate returned is what was expected. Everything here runs on the trusted side.

Values are exact builtins and `Opaque`, which equals nothing; none of them brings a method of its own.

    equal     as `==` has it: 1, 1.0 and True are equal, a list and a tuple are not. Where a float is expected, a float
              may differ by `atol` and `RTOL`; NaN equals NaN.
    set       the same elements, in any order and number, of a list, tuple or set
    sequence  the elements in their order, in a list or a tuple
    match     whether something matched: a bool that is right, or something else that is None exactly if it should be
    root      a zero of the polynomial whose coefficients are the argument, the constant first
    digits    as `equal`, or the sum of the differences of digits after the shorter number was padded with zeros
    pyramid   as `equal`, or the rounded surface of a square pyramid, the second argument being its height

The last three, and `set` and `match`, are what evalplus accepts of a few tasks.
"""

import math
from collections.abc import Callable
from typing import Any

from spancredit.tasks.code.problem import CodeProblem

ATOL, RTOL = 1e-6, 1e-7
NUMBERS = (bool, int, float, complex)


def is_right(problem: CodeProblem, number: int, value: Any) -> bool:
    """Whether a value is right for a call of a problem.

    Args:
        problem: With its expected values.
        number: Of the call, from 0.
    """
    assert problem.expected is not None
    return COMPARISONS[problem.how](value, problem.expected[number], problem.calls[number].args, problem.atol or ATOL)


def equal(value: Any, expected: Any, atol: float) -> bool:
    """As `==`, element by element, with tolerance for floats."""
    kind = type(expected)
    if kind is float and type(value) is float:
        return _close(value, expected, atol)
    if kind in NUMBERS:
        return type(value) in NUMBERS and (value == expected or (value != value and expected != expected))
    if kind in (list, tuple):
        same = type(value) is kind and len(value) == len(expected)
        return same and all(equal(one, other, atol) for one, other in zip(value, expected, strict=True))
    if kind is dict:
        same = type(value) is dict and value.keys() == expected.keys()
        return same and all(equal(value[key], other, atol) for key, other in expected.items())
    if kind in (set, frozenset):
        return type(value) in (set, frozenset) and value == expected
    return type(value) is kind and value == expected


def _close(value: float, expected: float, atol: float) -> bool:
    if math.isinf(expected) or math.isinf(value):
        return value == expected
    if math.isnan(expected):
        return math.isnan(value)
    return abs(value - expected) <= atol + RTOL * abs(expected)


def _set(value: Any, expected: Any, _: Any, __: float) -> bool:
    """Looks a value's elements up in the expected ones, never in each other: theirs may all share one hash."""
    if type(value) not in (list, tuple, set, frozenset):
        return False
    missing = {one: one for one in expected}
    found = set()
    for one in value:
        try:
            if one not in missing:
                return False
        except TypeError:  # cannot be hashed
            return False
        found.add(missing[one])
    return len(found) == len(missing)


def _sequence(value: Any, expected: Any, _: Any, atol: float) -> bool:
    return type(value) in (list, tuple) and equal(list(value), list(expected), atol)


def _match(value: Any, expected: Any, _: Any, __: float) -> bool:
    return (value if type(value) is bool else value is not None) == (expected is not None)


def _root(value: Any, _: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    if type(value) not in (int, float):
        return False
    try:
        total = sum(factor * math.pow(value, power) for power, factor in enumerate(arguments[0]))
    except (OverflowError, ValueError):
        return False
    return abs(total) <= atol


def _digits(value: Any, expected: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    first, second = map(str, arguments)
    width = max(len(first), len(second))
    pairs = zip(first.zfill(width), second.zfill(width), strict=True)
    return equal(value, expected, atol) or equal(value, sum(abs(int(one) - int(other)) for one, other in pairs), atol)


def _pyramid(value: Any, expected: Any, arguments: tuple[Any, ...], atol: float) -> bool:
    base, height = arguments
    surface = base**2 + 2 * base * math.hypot(base / 2, height)
    return equal(value, expected, atol) or (type(value) in (int, float) and abs(value - round(surface)) <= atol)


COMPARISONS: dict[str, Callable[[Any, Any, tuple[Any, ...], float], bool]] = {
    "equal": lambda value, expected, _, atol: equal(value, expected, atol),
    "set": _set,
    "sequence": _sequence,
    "match": _match,
    "root": _root,
    "digits": _digits,
    "pyramid": _pyramid,
}
