"""Drops by execution on MBPP+'s canonical solutions: which statement breaks most tests, and what finding it costs.

    python benchmarks/execution.py --data ../shared/data/evalplus --json benchmarks/execution-mbpp.json

For every tenth program the variants are run once more, one by one and without sharing, and must say the same.
"""

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from spancredit.execution.drops import Executed, Passed, Program, execution_drops
from spancredit.execution.variants import variants
from spancredit.sandbox import Candidate, Sandbox
from spancredit.sandbox.sandbox import MIB
from spancredit.tasks.code import CodeProblem, evalplus
from spancredit.tasks.code.expected import complete
from spancredit.tasks.code.judge import verdict
from spancredit.text.python import cut_python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder of evalplus's files")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # about calls that are left out
    limited = partial(Sandbox, memory=1024 * MIB, output=32 * MIB)
    with limited(seconds=90.0, cpu_seconds=30) as wide, limited(seconds=6.0, cpu_seconds=1) as box:
        rows = [_examined(box, i, complete(wide, one)) for i, one in enumerate(evalplus.load("mbpp", given.data))]
        level = box.level
    told = _told(rows, level)
    if given.json:
        given.json.write_text(json.dumps({**told, "programs": rows}, indent=1) + "\n")
    print(json.dumps(told, indent=2))


def _examined(box: Sandbox, number: int, problem: CodeProblem) -> dict[str, Any]:
    """What one program's statements are worth to its tests."""
    code = problem.solution
    pieces = cut_python(code, 0, len(code))
    program = Program(problem.name, code, tuple((start, end) for start, end, _ in pieces))

    def run(pairs: Sequence[tuple[Any, str]]) -> list[tuple[Passed, bool]]:
        candidates = [Candidate(one, problem.entry_point, problem.calls) for _, one in pairs]
        return [(verdict(problem, outcome).passed, True) for outcome in box.run(candidates)]

    started = time.perf_counter()
    (found,) = execution_drops([program], run)
    seconds = time.perf_counter() - started
    if number % 10 == 0:
        _check(program, found, run)
    best = max(range(len(pieces)), key=lambda k: found.drops_K[k])
    statements = [k for k, piece in enumerate(pieces) if not piece[2].endswith(("FunctionDef", "ClassDef"))]
    within = max(statements, key=lambda k: found.drops_K[k], default=best)
    return {
        "name": problem.name,
        "rate": sum(found.passed) / len(found.passed),
        "runs": found.runs,
        "seconds": round(seconds, 4),
        "largest_drop": found.drops_K[best],
        "largest_within": found.drops_K[within],
        "kind_within": pieces[within][2],
        "without_effect": sum(found.drops_K[k] == 0 for k in statements) / max(len(statements), 1),
    }


def _check(program: Program, found: Executed, run: Any) -> None:
    """Each variant alone, whatever it has in common with others."""
    whole = sum(found.passed)
    for drop, variant in zip(found.drops_K, variants(program.code, program.stretches), strict=True):
        ((passed, _),) = run([(program.problem, variant or program.code)])
        assert drop == (whole - sum(passed)) / len(passed), program.problem


def _told(rows: list[dict[str, Any]], level: str) -> dict[str, Any]:
    having = [row for row in rows if row["largest_drop"] > 0]
    kinds = Counter(row["kind_within"] for row in rows if row["largest_within"] > 0)
    return {
        "sandbox": level,
        "programs": len(rows),
        "all_tests_pass": sum(row["rate"] == 1 for row in rows),
        "with_a_statement_that_tests_need": len(having),
        "also_inside_the_function": sum(row["largest_within"] > 0 for row in rows),
        "kind_that_breaks_most": dict(kinds.most_common(6)),
        "share_of_statements_without_effect": sum(row["without_effect"] for row in rows) / len(rows),
        "runs_a_program": sum(row["runs"] for row in rows) / len(rows),
        "seconds_a_program_median": median(row["seconds"] for row in rows),
        "seconds_a_program_mean": sum(row["seconds"] for row in rows) / len(rows),
    }


if __name__ == "__main__":
    main()
