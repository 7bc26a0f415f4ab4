"""Drops by execution: how much of the tests a program fails with a stretch of it changed. No model is asked."""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from spancredit.execution.exchanges import exchanges
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
        return _rate(self.passed)


def execution_drops(programs: Sequence[Program], run: Run, cache: Cache | None = None) -> list[Executed]:
    """Take each stretch away, run what is left, and compare.

    Variants that differ in nothing that runs are run once, whichever program they come from; one that differs in
    nothing from its program has drop 0. Everything is run in one call, so that it can be shared out.

    Args:
        run: Given pairs of problem and program, says for each which tests pass.
        cache: What earlier calls found, by problem and fingerprint; filled up.
    """
    without = [[[code] for code in variants(program.code, program.stretches)] for program in programs]
    return _compared(programs, without, run, cache)


def exchange_drops(programs: Sequence[Program], run: Run, cache: Cache | None = None) -> list[Executed]:
    """Exchange each stretch for what the other programs of its problem have in its place, run, and compare.

    Where they are samples of one policy, the drop of a stretch is what it is worth over the policy's own choice there:
    the mean over the other programs, in which one that has the same, or nothing that fits, counts as no change.

    Args:
        run, cache: As for `execution_drops`.
    """
    exchanged = []
    for i, program in enumerate(programs):
        others = [one for j, one in enumerate(programs) if j != i and one.problem == program.problem]
        pairs = [exchanges(program.code, program.stretches, one.code, one.stretches) for one in others]
        exchanged.append([list(codes) for codes in zip(*pairs, strict=True)] or [[] for _ in program.stretches])
    return _compared(programs, exchanged, run, cache)


def _compared(
    programs: Sequence[Program], changed: Sequence[Sequence[Sequence[str | None]]], run: Run, cache: Cache | None
) -> list[Executed]:
    """Every program against its changed ones: for each stretch some, None for no change."""
    cache = {} if cache is None else cache
    wanted: dict[tuple[Any, str], str] = {}
    asked, runs = [], []
    for program, stretches in zip(programs, changed, strict=True):
        codes: dict[str | None, str] = {None: program.code}
        codes |= {code: code for some in stretches for code in some if code is not None}
        keys = {name: (program.problem, fingerprint(code)) for name, code in codes.items()}
        new = {keys[name]: code for name, code in codes.items() if keys[name] not in cache and keys[name] not in wanted}
        wanted |= new
        asked.append(keys)
        runs.append(len(new))
    found = run([(key[0], code) for key, code in wanted.items()]) if wanted else []
    cache.update(zip(wanted, found, strict=True))
    executed = []
    for stretches, keys, count in zip(changed, asked, runs, strict=True):
        rates = {name: _rate(cache[key]) for name, key in keys.items()}
        drops_K = tuple(mean([rates[None] - rates[code] for code in some] or [0.0]) for some in stretches)
        executed.append(Executed(cache[keys[None]], drops_K, count))
    return executed


def _rate(passed: Passed) -> float:
    return sum(passed) / max(len(passed), 1)
