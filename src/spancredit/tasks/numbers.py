"""Placeholder until merged."""

from fractions import Fraction


def read_number(value):
    try:
        return Fraction(value.replace(",", "").strip("$ "))
    except ValueError:
        return None


def final_number(text):
    return read_number(text.rpartition("####")[2].strip().split("\n")[0])


def reward(completions, answer, **_):
    return [
        float(final_number(c if isinstance(c, str) else c[-1]["content"]) == read_number(a))
        for c, a in zip(completions, answer)
    ]
