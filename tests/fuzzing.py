"""Fuzzing: what a model, a file or a candidate can hand over, and what must hold whatever that is.

    python tests/fuzzing.py --cases 100000              # a table; with --json FILE also there
    python tests/fuzzing.py --case located:3:1250       # one case again: target, seed and number

A case follows from target, seed and number alone. One that takes more than `HANG` seconds counts as a hang.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import fuzz_targets

HANG = 5.0
TARGETS: dict[str, Callable[[Random, Path], None]] = {
    name.removeprefix("fuzz_"): target for name, target in vars(fuzz_targets).items() if name.startswith("fuzz_")
}


class Hang(BaseException):
    """Not an Exception, so that nothing under test can take it for one of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    def strike(*_: Any) -> None:
        raise Hang(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_case(name: str, seed: int, number: int, folder: Path) -> str | None:
    """What went wrong, and how it is run again; None if all held."""
    try:
        with limited(HANG):
            TARGETS[name](Random(f"{name}:{seed}:{number}"), folder)
    except (Exception, Hang) as error:  # noqa: BLE001
        return f"{name}:{seed}:{number}: {type(error).__name__}: {str(error)[:300]}"
    return None


def fuzz(cases: int, seed: int, seconds: float | None = None) -> dict[str, dict[str, Any]]:
    """As many cases over all targets, or fewer if the time is over; for each target its cases, seconds and failures."""
    began, each = time.monotonic(), -(-cases // len(TARGETS))
    found = {}
    with TemporaryDirectory() as folder:
        for i, name in enumerate(TARGETS, start=1):
            until = None if seconds is None else began + seconds * i / len(TARGETS)
            found[name] = _fuzz_one(name, each, seed, until, Path(folder))
    return found


def _fuzz_one(name: str, cases: int, seed: int, until: float | None, folder: Path) -> dict[str, Any]:
    began, done, failures = time.monotonic(), 0, []
    while done < cases and (until is None or time.monotonic() < until):
        failure = run_case(name, seed, done, folder)
        failures += [failure] if failure else []
        done += 1
    return {"cases": done, "seconds": round(time.monotonic() - began, 1), "failures": failures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--case")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.case:
        name, seed, number = given.case.split(":")
        with TemporaryDirectory() as folder:
            TARGETS[name](Random(f"{name}:{int(seed)}:{int(number)}"), Path(folder))
        return
    found = fuzz(given.cases, given.seed, given.seconds)
    for name, one in found.items():
        print(f"{name:<12} {one['cases']:>7} cases {one['seconds']:>7.1f} s  {len(one['failures'])} failures")
        print(*(f"  {failure}" for failure in one["failures"][:10]), sep="\n", end="\n" if one["failures"] else "")
    total = sum(one["cases"] for one in found.values())
    print(f"{total} cases, {sum(len(one['failures']) for one in found.values())} failures")
    if given.json:
        given.json.write_text(json.dumps({"cases": total, "seed": given.seed, "targets": found}, indent=2) + "\n")
    sys.exit(any(one["failures"] for one in found.values()))


if __name__ == "__main__":
    main()
