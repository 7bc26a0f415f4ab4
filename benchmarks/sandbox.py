"""How many candidates a second the sandbox judges on one core, at each level.

`python benchmarks/sandbox.py --json benchmarks/sandbox.json`
"""

import argparse
import json
import os
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from spancredit.errors import SandboxError
from spancredit.sandbox import Call, Candidate, Sandbox
from spancredit.sandbox.levels import LEVELS
from spancredit.sandbox.process import LevelName

# Of the size of an MBPP problem, with three tests as it has.
SMALL = Candidate(
    """
import heapq
from collections import Counter

def top_words(text, count):
    words = Counter(word.strip('.,').lower() for word in text.split())
    return heapq.nsmallest(count, words.items(), key=lambda item: (-item[1], item[0]))
""",
    "top_words",
    tuple(Call((text, 2)) for text in ("a b a.", "The cat and the dog, and the bird.", "")),
)
# With many tests, of which each statement taken out makes a variant.
MANY = replace(SMALL, calls=tuple(Call(("the cat and the dog " * 20, count)) for count in range(100)))


def processor_seconds() -> float:
    """Of this process, of those below it, and of the candidates that those had."""
    own = psutil.Process()
    below = [one.cpu_times() for one in own.children(recursive=True)]
    return sum(own.cpu_times()[:2]) + sum(sum(one[:4]) for one in below)


def rate(box: Sandbox, candidates: list[Candidate]) -> dict[str, float]:
    """Verdicts a second on the wall, which other work slows down, and of processor time, which it hardly does."""
    box.run(candidates[:20])
    began, spent = time.perf_counter(), processor_seconds()
    outcomes = box.run(candidates)
    taken, spent = time.perf_counter() - began, processor_seconds() - spent
    assert all(outcome.status == "done" for outcome in outcomes)
    visits = [1000 * outcome.seconds for outcome in outcomes]
    return {
        "verdicts_a_second": round(len(candidates) / taken, 1),
        "verdicts_a_processor_second": round(len(candidates) / spent, 1),
        "median_ms": round(statistics.median(visits), 2),
        "least_ms": round(min(visits), 2),
    }


def measure(level: LevelName, count: int) -> dict[str, Any]:
    """Everything at one level; why not, where it does not work."""
    variants = [replace(MANY, code=f"{MANY.code}\n# {number}") for number in range(10)]
    apart = [replace(one, calls=tuple(replace(call) for call in one.calls)) for one in variants]
    began = time.perf_counter()
    try:
        with Sandbox(level) as box:
            start = 1000 * (time.perf_counter() - began)
            return {
                "level": box.level,
                "start_ms": round(start, 1),
                "small": rate(box, [SMALL] * count),
                "ten variants, 100 shared calls": rate(box, variants * (count // 50)),
                "ten variants, 100 calls of their own": rate(box, apart * (count // 50)),
            }
    except SandboxError as error:
        return {"level": f"{level} does not work here: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="candidates of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # with everything that it starts
    results: dict[str, Any] = {
        "command": f"python benchmarks/sandbox.py --count {options.count}",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, Linux {platform.release().partition('-')[0]}, 1 core",
        "load": round(os.getloadavg()[0], 1),
        "levels": [measure(level, options.count) for level in LEVELS],
    }
    for one in results["levels"]:
        print(one["level"])
        for name, figures in one.items():
            if isinstance(figures, dict):
                said = "   ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in figures.items())
                print(f"  {name:38} {said}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
