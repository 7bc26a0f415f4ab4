"""Fuzzing: what a model, a file or a candidate can hand over, and what must hold whatever that is.

    python tests/fuzzing.py --cases 100000              # a table; with --json FILE also there
    python tests/fuzzing.py --case located:3:1250       # one case again: target, seed and number

A case follows from target, seed and number alone. One that takes more than `HANG` seconds of the processor counts as a
hang, wherever it is.
"""

import argparse
import json
import math
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import fuzz_targets

HANG = 5.0  # seconds of the processor
WAIT = 60.0  # seconds in which a case says nothing, for one that sleeps
RARE = {"repeated": 100}  # of so many cases one, since its texts are long
FORK = multiprocessing.get_context("fork")
TARGETS: dict[str, Callable[[Random, Path], None]] = {
    name.removeprefix("fuzz_"): target for name, target in vars(fuzz_targets).items() if name.startswith("fuzz_")
}


def run_cases(name: str, seed: int, numbers: range, folder: Path, until: float = math.inf) -> tuple[int, list[str]]:
    """How many were run before that time, and what went wrong with which of them: each line names its case first.

    They run in a process that is begun anew after a case that ended it, and which the system ends when a case takes
    too long, whatever it is doing then: no code of Python's has to be reached.
    """
    failures: list[str] = []
    left = numbers
    while left and time.monotonic() < until:
        done, fatal = _begin(name, seed, left, folder, until, failures)
        left = left[done:]
        if fatal is not None:
            failures.append(f"{name}:{seed}:{left[0]}: {fatal}")
            left = left[1:]
    return len(numbers) - len(left), failures


def _begin(
    name: str, seed: int, numbers: range, folder: Path, until: float, failures: list[str]
) -> tuple[int, str | None]:
    """Run them in a process until one ends it: how many are done, and how the next one ended it, if it did."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_work, args=(sender, name, seed, numbers, folder), daemon=True)
    process.start()
    sender.close()
    done = 0
    try:
        while done < len(numbers) and time.monotonic() < until:
            if not receiver.poll(WAIT):
                return done, f"Hang: no word for {WAIT:g} s"
            failure = receiver.recv()
            done += 1
            failures += [failure] if failure else []
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGVTALRM:
            return done, f"Hang: no end after {HANG:g} s of the processor"
        return done, f"the process ended ({process.exitcode})"
    finally:
        process.kill()
        process.join()
        receiver.close()
    return done, None


def _work(sender: Connection, name: str, seed: int, numbers: range, folder: Path) -> None:
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # which ends a process, also one that never returns from C
    for number in numbers:
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
        sender.send(_failure(name, seed, number, folder))


def _failure(name: str, seed: int, number: int, folder: Path) -> str | None:
    try:
        TARGETS[name](Random(f"{name}:{seed}:{number}"), folder)
    except Exception as error:  # noqa: BLE001
        return f"{name}:{seed}:{number}: {type(error).__name__}: {str(error)[:300]}"
    return None


def fuzz(cases: int, seed: int, seconds: float | None = None) -> dict[str, dict[str, Any]]:
    """As many cases over all targets, or fewer if the time is over; for each target its cases, seconds and failures."""
    began, shares = time.monotonic(), {name: 1 / RARE.get(name, 1) for name in TARGETS}
    found = {}
    with TemporaryDirectory() as folder:
        for i, (name, share) in enumerate(shares.items(), start=1):
            until = math.inf if seconds is None else began + seconds * i / len(TARGETS)
            count = math.ceil(cases * share / sum(shares.values()))
            started = time.monotonic()
            done, failures = run_cases(name, seed, range(count), Path(folder), until)
            passed = round(time.monotonic() - started, 1)
            found[name] = {"cases": done, "seconds": passed, "failures": failures}
    return found


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
