"""Drops by execution: how much of the tests a program fails with a stretch of it changed. No model is asked."""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spancredit.execution.exchanges import exchanged, statements
from spancredit.execution.variants import Range, fingerprint, held, variants

Passed = tuple[bool, ...]  # of each test
Run = Callable[[Sequence[tuple[Any, str]]], Sequence[tuple[Passed, bool]]]  # and whether it would be so another time
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


def execution_drops(programs: Sequence[Program], run: Run, cache: Cache | None = None) -> list[Executed]:
    """Take each stretch away, run what is left, and compare.

    Variants that differ in nothing that runs are run once, whichever program they come from; one that differs in
    nothing from its program has drop 0. Everything is run in one call, so that it can be shared out.

    Args:
        run: Given pairs of problem and program, says for each which tests pass.
        cache: What earlier calls found for good, by problem and fingerprint; filled up.
    """
    changed = [
        [[variant or program.code] for variant in variants(program.code, program.stretches)] for program in programs
    ]
    return _compared(programs, changed, run, cache)


def exchange_drops(
    programs: Sequence[Program], run: Run, cache: Cache | None = None, partners: Sequence[Program] = ()
) -> list[Executed]:
    """Where two programs of a problem part, exchange the one statement, keep the rest, run, and compare.

    The drop of a statement is the mean over the programs that are the same up to it: what it changes where theirs is
    another, 0 where it is the same. What Python cannot read counts for neither. A stretch gets the sum of the drops of
    the statements that it holds.

    Args:
        run, cache: As for `execution_drops`.
        partners: Programs that are exchanged with, and not asked about.
    """
    everyone = [(program, statements(program.code)) for program in (*programs, *partners)]
    changed = []
    for program, mine in everyone[: len(programs)]:
        options: list[list[str]] = [[] for _ in mine]
        for other, theirs in everyone:
            if other is program or other.problem != program.problem:
                continue
            found = exchanged(program.code, mine, other.code, theirs)
            for k in range(found.alike):
                options[k].append(program.code)
            if found.code is not None:
                options[found.alike].append(found.code)
        changed.append(options)
    executed = _compared(programs, changed, run, cache)
    return [
        replace(one, drops_K=_over_stretches(program, mine, one.drops_K))
        for one, (program, mine) in zip(executed, everyone, strict=False)
    ]


def _over_stretches(program: Program, places: Sequence[Range], drops: Sequence[float]) -> tuple[float, ...]:
    placed = list(zip(places, drops, strict=True))
    return tuple(
        sum(drop for place, drop in placed if held(program.code, place, stretch)) for stretch in program.stretches
    )


def _compared(
    programs: Sequence[Program], changed: Sequence[Sequence[Sequence[str]]], run: Run, cache: Cache | None
) -> list[Executed]:
    """Every program against its changed ones: for each place some, whose mean counts; without any the drop is 0."""
    cache = {} if cache is None else cache
    wanted: dict[tuple[Any, str], str] = {}
    asked, runs = [], []
    for program, places in zip(programs, changed, strict=True):
        codes = dict.fromkeys([program.code, *(code for some in places for code in some)])
        keys = {code: (program.problem, fingerprint(code)) for code in codes}
        new = {keys[code]: code for code in codes if keys[code] not in cache and keys[code] not in wanted}
        wanted |= new
        asked.append(keys)
        runs.append(len(new))
    ran = run([(key[0], code) for key, code in wanted.items()]) if wanted else []
    known = {key: passed for key, (passed, _) in zip(wanted, ran, strict=True)}
    cache.update({key: passed for key, (passed, final) in zip(wanted, ran, strict=True) if final})
    executed = []
    for program, places, keys, count in zip(programs, changed, asked, runs, strict=True):
        passed = {code: known[key] if key in known else cache[key] for code, key in keys.items()}
        whole = passed[program.code]
        drops_K = tuple(_drop(whole, [passed[code] for code in some]) for some in places)
        executed.append(Executed(whole, drops_K, count))
    return executed


def _drop(whole: Passed, others: Sequence[Passed]) -> float:
    """The mean fall in the share of tests that pass; in whole numbers up to the end, so that what cancels is 0."""
    fallen = sum(sum(whole) - sum(other) for other in others)
    return fallen / max(len(whole) * len(others), 1)
