"""What sketches are made of: conditions and changes of an integer `x`, in words and as Python, and arguments."""

import random
import re
from dataclasses import dataclass
from typing import Any

Arguments = tuple[Any, ...]
WORDS = ("apple", "Bread", "sea", "noon", "Kiwi", "level", "mud", "Otto", "rain", "x", "banana", "Tee", "idea", "ab")


@dataclass(frozen=True)
class Piece:
    """Words, and the Python that does what they say."""

    words: str
    code: str

    def of(self, name: str) -> "Piece":
        """The same of another variable than `x`."""
        return Piece(self.words.format(name), re.sub(r"\bx\b", name, self.code))


@dataclass(frozen=True)
class Sketch:
    """A function before it has tests.

    Attributes:
        name: Of the function.
        parameters: Their names.
        words: What it does, as a sentence without a full stop that begins with a verb.
        body: Lines of its body, indented from the margin.
        arguments: Of calls that an example shows.
        edges: Of further ones.
    """

    name: str
    parameters: tuple[str, ...]
    words: str
    body: str
    arguments: tuple[Arguments, ...]
    edges: tuple[Arguments, ...]


def condition(rng: random.Random, parts: int = 1) -> Piece:
    """What holds for some integers `x`; of several parts, which may contradict each other only in part."""
    if parts > 1:
        first, second, word = condition(rng), condition(rng, parts - 1), rng.choice(("and", "or"))
        return Piece(f"{first.words} {word} {second.words}", f"({first.code}) {word} ({second.code})")
    low, divisor = rng.randint(-9, 15), rng.randint(3, 9)
    return rng.choice(
        (
            Piece("even", "x % 2 == 0"),
            Piece("odd", "x % 2 == 1"),
            Piece("negative", "x < 0"),
            Piece(f"greater than {low}", f"x > {low}"),
            Piece(f"at most {low}", f"x <= {low}"),
            Piece(f"not equal to {low}", f"x != {low}"),
            Piece(f"divisible by {divisor}", f"x % {divisor} == 0"),
            Piece(f"not divisible by {divisor}", f"x % {divisor} != 0"),
            Piece(f"further than {divisor} from zero", f"abs(x) > {divisor}"),
        )
    )


def change(rng: random.Random) -> Piece:
    """What becomes of an integer `x`: a noun phrase with `{}` for it, and an expression."""
    number = rng.randint(2, 12)
    return rng.choice(
        (
            Piece("the square of {}", "x * x"),
            Piece("the absolute value of {}", "abs(x)"),
            Piece(f"{{}} plus {number}", f"x + {number}"),
            Piece(f"{{}} minus {number}", f"x - {number}"),
            Piece(f"{{}} times {number}", f"x * {number}"),
            Piece(f"{number} minus {{}}", f"{number} - x"),
            Piece(f"the remainder of {{}} divided by {number}", f"x % {number}"),
            Piece(f"{{}} divided by {number}, rounded down", f"x // {number}"),
            Piece(f"the larger one of {{}} and {number}", f"max(x, {number})"),
        )
    )


def integers(rng: random.Random, least: int = 3, most: int = 8) -> list[int]:
    return [rng.randint(-20, 30) for _ in range(rng.randint(least, most))]


def lists(rng: random.Random, count: int) -> tuple[Arguments, ...]:
    """Two short ones, which may be shown, and long ones, which meet more conditions."""
    return tuple((integers(rng) if i < 2 else integers(rng, 12, 18),) for i in range(count))


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(2, 5)))


LIST_EDGES: tuple[Arguments, ...] = (([],), ([0],), ([-7, -7, 12, 12],))
TEXT_EDGES: tuple[Arguments, ...] = (("",), ("a",), ("Aa bB  1!",))
