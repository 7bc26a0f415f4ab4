"""Drops by execution: how much of the tests a program fails without a stretch of it. No model is asked."""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from spancredit.execution.variants import Range, fingerprint, variants

Passed = tuple[bool, ...]  # of each test
Run = Callable[[Sequence[tuple[Any, str]]], Sequence[Passed]]
Cache = MutableMapping[tuple[Any, str], Passed]


@dataclass(frozen=True)
class Program:
    """A program that is asked about.

    Args:
        problem: What its tests are found by; anything that can be a key.
        code: The whole of it.
        stretches: Ranges of its characters, half-open.
    """

    problem: Any
    code: str
    stretches: tuple[Range, ...]


@dataclass(frozen=True)
class Executed:
    """What running a program and its variants showed.

    Args:
        passed: Which tests the program passes.
        drops_K: For each stretch what the share of tests that pass falls by without it, signed, in [-1, 1]: positive
            for what tests need, negative for what keeps tests from passing.
        runs: Programs that were run for it: not those that were known, or run for another.
    """

    passed: Passed
    drops_K: tuple[float, ...]
    runs: int

    @property
    def rate(self) -> float:
        """The share of tests that pass; 0 without tests."""
        return sum(self.passed) / len(self.passed) if self.passed else 0.0


def execution_drops(programs: Sequence[Program], run: Run, cache: Cache | None = None) -> list[Executed]:
    """Take each stretch away, run what is left, and compare.

    Variants that differ in nothing that runs are run once, whichever program they come from; one that differs in
    nothing from its program has drop 0. Everything is run in one call, so that it can be shared out.

    Args:
        run: Given pairs of problem and program, says for each which tests pass.
        cache: What earlier calls found, by problem and fingerprint; filled up.
    """
    cache = {} if cache is None else cache
    wanted: dict[tuple[Any, str], str] = {}
    keyed, runs = [], []
    for program in programs:
        codes = [program.code, *(variant or program.code for variant in variants(program.code, program.stretches))]
        keys = [(program.problem, fingerprint(code)) for code in codes]
        new = {key: code for key, code in zip(keys, codes, strict=True) if key not in cache and key not in wanted}
        wanted |= new
        keyed.append(keys)
        runs.append(len(new))
    found = run([(key[0], code) for key, code in wanted.items()]) if wanted else []
    cache.update(zip(wanted, found, strict=True))
    return [_executed([cache[key] for key in keys], count) for keys, count in zip(keyed, runs, strict=True)]


def _executed(passed: Sequence[Passed], runs: int) -> Executed:
    whole, *without = passed
    tests = max(len(whole), 1)
    return Executed(whole, tuple((sum(whole) - sum(left)) / tests for left in without), runs)
