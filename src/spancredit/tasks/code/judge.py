"""From completions to verdicts: the programs run in the sandbox, what they return is compared here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spancredit.sandbox import FAILURES, Candidate, Outcome, Sandbox
from spancredit.sandbox.candidate import OutcomeStatus
from spancredit.tasks.code.compare import is_right
from spancredit.tasks.code.expected import complete
from spancredit.tasks.code.extract import extract_program
from spancredit.tasks.code.problem import CodeProblem

AT_A_TIME = 4  # candidates for a process of the sandbox, whose values are held: each may return as much as it permits

VerdictStatus = Literal["passed", "wrong", "raised", "unsendable"] | OutcomeStatus
STATUSES: tuple[VerdictStatus, ...] = ("passed", "wrong", "raised", "unsendable", *FAILURES)


@dataclass(frozen=True)
class Verdict:
    """How a completion fared.

    Attributes:
        status: `passed`; or why not: `wrong`, `raised` or `unsendable`, of the first call that failed; or what ended
            the whole, as in `spancredit.sandbox.FAILURES`.
        passed: For each call, whether it returned what was expected. Calls after an end count as failed.
        detail: What was raised, the exit code or the signal.
    """

    status: VerdictStatus
    passed: tuple[bool, ...]
    detail: str = ""

    @property
    def right(self) -> bool:
        return self.status == "passed"

    @property
    def share(self) -> float:
        """Of the calls that passed."""
        return sum(self.passed) / len(self.passed)


def judge(box: Sandbox, problems: Sequence[CodeProblem], completions: Sequence[str]) -> list[Verdict]:
    """Verdicts on completions, as many at a time as the sandbox has processes.

    Args:
        completions: As the policy wrote them; the rest as for `judge_programs`.

    Raises:
        DataError: if a problem's expected values cannot be had.
        SandboxError: if the sandbox fails.
    """
    programs = [extract_program(completion, problem) for completion, problem in zip(completions, problems, strict=True)]
    return judge_programs(box, problems, programs)


def judge_programs(
    box: Sandbox, problems: Sequence[CodeProblem], programs: Sequence[str], cpu_seconds: float | None = None
) -> list[Verdict]:
    """Verdicts on whole programs.

    Args:
        box: An open sandbox.
        problems: The problem of each program; what has no expected values yet is completed first.
        cpu_seconds: Processor time of each program, if less than the sandbox's limit.

    Raises:
        DataError: if a problem's expected values cannot be had.
        SandboxError: if the sandbox fails.
    """
    whole: dict[str, CodeProblem] = {}
    for problem in problems:
        if problem.name not in whole:
            whole[problem.name] = complete(box, problem)
    asked = [whole[problem.name] for problem in problems]
    candidates = [
        Candidate(program, problem.entry_point, problem.calls, cpu_seconds)
        for program, problem in zip(programs, asked, strict=True)
    ]
    verdicts: list[Verdict] = []
    size = AT_A_TIME * box.processes
    for start in range(0, len(candidates), size):
        part = slice(start, start + size)
        verdicts += map(verdict, asked[part], box.run(candidates[part]))
    return verdicts


def verdict(problem: CodeProblem, outcome: Outcome) -> Verdict:
    """What an outcome is worth, by the expected values of a problem."""
    passed = tuple(
        result.status == "value" and is_right(problem, number, result.value)
        for number, result in enumerate(outcome.results)
    )
    if outcome.status != "done":
        return Verdict(outcome.status, passed, outcome.detail)
    if all(passed):
        return Verdict("passed", passed)
    first = outcome.results[passed.index(False)]
    if first.status == "value":
        return Verdict("wrong", passed)
    return Verdict("raised" if first.status == "raised" else "unsendable", passed, first.detail)
