"""Families of small functions. Each draws one: what it does in words, a canonical body, and arguments to try."""

import random
from collections.abc import Callable

from spancredit.tasks.code.pieces import (
    LIST_EDGES,
    TEXT_EDGES,
    WORDS,
    Sketch,
    change,
    condition,
    integers,
    lists,
    sentence,
)

Family = Callable[[random.Random, int], Sketch]
CALLS = 5  # beside the edges
BEFORE = """for i, c in enumerate(text):
    if c.lower() in "{}":
        return text[:i]
return text"""


def arithmetic(rng: random.Random, parts: int) -> Sketch:
    first, second = change(rng).of("a"), change(rng).of("b")
    joined, code = rng.choice((("sum", "{} + {}"), ("product", "({}) * ({})"), ("larger one", "max({}, {})")))
    words = f"Return the {joined} of {first.words} and {second.words}"
    body = f"return {code.format(first.code, second.code)}"
    for number in range(parts - 1):
        when = condition(rng).of("a")
        words += f", or {number} if a is {when.words}"
        body = f"if {when.code}:\n    return {number}\n{body}"
    drawn = tuple((rng.randint(-20, 30), rng.randint(-20, 30)) for _ in range(CALLS))
    return Sketch("combine", ("a", "b"), words, body, drawn, ((0, 0), (-1, 7), (12, 12)))


def branches(rng: random.Random, parts: int) -> Sketch:
    rules = [(condition(rng), change(rng).of("x")) for _ in range(parts)]
    last = change(rng).of("x")
    while last in (then for _, then in rules):
        last = change(rng).of("x")
    lines = [f"if {when.code}:\n    return {then.code}" for when, then in rules]
    said = [f"{then.words} if x is {when.words}" for when, then in rules]
    words = f"Return {', else '.join(said)}, and else {last.words}"
    drawn = tuple((x,) for x in rng.sample(range(-20, 31), CALLS))
    return Sketch(
        "choose", ("x",), words, "\n".join([*lines, f"return {last.code}"]), drawn, ((0,), (-1,), (2,), (21,))
    )


def select(rng: random.Random, parts: int) -> Sketch:
    when, then = condition(rng, parts), change(rng).of("x")
    words = f"Return a list of {then.words}, for every x in numbers that is {when.words}"
    body = f"result = []\nfor x in numbers:\n    if {when.code}:\n        result.append({then.code})\nreturn result"
    return Sketch("select", ("numbers",), words, body, lists(rng, CALLS), LIST_EDGES)


def total(rng: random.Random, parts: int) -> Sketch:
    when, then = condition(rng, parts), change(rng).of("x")
    name, start, step = rng.choice((("sum", 0, "result += {}"), ("largest value", -100, "result = max(result, {})")))
    least = ", at least -100" if start else ""
    words = f"Return the {name} of {then.words}, over every x in numbers that is {when.words}{least}"
    body = f"result = {start}\nfor x in numbers:\n    if {when.code}:\n        {step.format(then.code)}\nreturn result"
    return Sketch("total", ("numbers",), words, body, lists(rng, CALLS), LIST_EDGES)


def running(rng: random.Random, parts: int) -> Sketch:
    then, name = change(rng).of("x"), rng.choice(("sum", "maximum"))
    step = "state + ({})" if name == "sum" else "max(state, {})"
    words = f"Return the running {name} of {then.words} over numbers, beginning from 0"
    lines = ["state = 0", "result = []", "for x in numbers:"]
    if parts > 1:
        stop = condition(rng)
        words += f", and stop before the first x that is {stop.words}"
        lines += [f"    if {stop.code}:", "        break"]
    lines += [f"    state = {step.format(then.code)}", "    result.append(state)", "return result"]
    return Sketch("running", ("numbers",), words, "\n".join(lines), lists(rng, CALLS), LIST_EDGES)


def position(rng: random.Random, parts: int) -> Sketch:
    when, missing, after = condition(rng, parts), rng.choice((-1, 99)), rng.randint(0, 2)
    words = f"Return the index of the first number from index {after} on that is {when.words}, or {missing}"
    loop = f"for i in range({after}, len(numbers)):\n    x = numbers[i]\n    if {when.code}:\n        return i"
    return Sketch("position", ("numbers",), words, f"{loop}\nreturn {missing}", lists(rng, CALLS + 1), LIST_EDGES)


def steps(rng: random.Random, parts: int) -> Sketch:
    divisor, least = rng.randint(2, 7), rng.randint(1, 9)
    words = f"Count how often n can be divided by {divisor}, rounding down, before it is below {least}"
    lines = ["count = 0", f"while n >= {least}:", f"    n //= {divisor}", "    count += 1", "return count"]
    if parts > 1:
        when, extra = condition(rng), rng.randint(2, 5)
        words += f"; a step from a number that is {when.words} counts {extra} times"
        lines[2:4] = [f"    count += {extra} if {when.of('n').code} else 1", f"    n //= {divisor}"]
    drawn = tuple((n,) for n in rng.sample(range(10, 5000), CALLS))
    return Sketch("count_steps", ("n",), words, "\n".join(lines), drawn, ((0,), (least,), (least - 1,), (10**6,)))


def letters(rng: random.Random, parts: int) -> Sketch:
    chosen = "".join(sorted(rng.sample("aeiounrtlbdk", rng.randint(1 + parts, 3 + parts))))
    what, code = rng.choice(
        (
            ("Return text without", 'return "".join(c for c in text if c.lower() not in "{}")'),
            ("Count the characters of text that are", 'return sum(1 for c in text if c.lower() in "{}")'),
            ("Return text with an asterisk for", 'return "".join("*" if c.lower() in "{}" else c for c in text)'),
            ("Return the part of text before", BEFORE),
        )
    )
    words = f"{what} the letters in {chosen!r}, in either case"
    drawn = tuple((sentence(rng),) for _ in range(CALLS))
    return Sketch("letters", ("text",), words, code.format(chosen), drawn, TEXT_EDGES)


def words_of(rng: random.Random, parts: int) -> Sketch:
    length, every = rng.randint(2, 5), rng.randint(2, 4)
    which, when = rng.choice(
        (
            (f"have at least {length} letters", f"len(word) >= {length}"),
            (f"have fewer than {length + 1} letters", f"len(word) <= {length}"),
            ("read the same backwards, whatever the case", "word.lower() == word.lower()[::-1]"),
            ("begin with a capital", "word[0].isupper()"),
        )
    )
    how, then = rng.choice(
        (
            ("reversed", "word[::-1]"),
            ("in capitals", "word.upper()"),
            (f"cut to {every} letters", f"word[:{every}]"),
            (f"repeated {every} times", f"word * {every}"),
        )
    )
    words, suffix = f"Return the words of text that {which}, each {how}", ""
    if parts > 1:
        words, suffix = f"{words}, of which only one in {every} counts, beginning with the first", f"[::{every}]"
    body = f"return [{then} for word in text.split() if {when}]{suffix}"
    drawn = tuple((sentence(rng),) for _ in range(CALLS + 1))
    return Sketch("choose_words", ("text",), words, body, drawn, TEXT_EDGES)


def groups(rng: random.Random, parts: int) -> Sketch:
    when, key = condition(rng, parts), rng.randint(2, 6)
    name, start, step = rng.choice((("sum", "0", "+ x"), ("list", "[]", "+ [x]"), ("number", "0", "+ 1")))
    words = f"Map each remainder by {key} to the {name} of the numbers with it, of those that are {when.words}"
    lines = ["groups = {}", "for x in numbers:", f"    if {when.code}:"]
    lines += [f"        groups[x % {key}] = groups.get(x % {key}, {start}) {step}", "return groups"]
    return Sketch("group", ("numbers",), words, "\n".join(lines), lists(rng, CALLS), LIST_EDGES)


def prices(rng: random.Random, parts: int) -> Sketch:
    when, then = condition(rng, parts), change(rng).of("x")
    words = f"Return a new dict with {then.words} for each value x of stock that is {when.words}"
    body = f"return {{name: {then.code} for name, x in stock.items() if {when.code}}}"
    drawn = tuple((dict(zip(rng.sample(WORDS, 4), integers(rng, 4, 4), strict=True)),) for _ in range(CALLS))
    return Sketch("update", ("stock",), words, body, drawn, (({},), ({"x": 0},), ({"a": 12, "b": -7},)))


FAMILIES: tuple[Family, ...] = (
    *(arithmetic, branches, select, total, running, position, steps, letters, words_of, groups, prices),
)
