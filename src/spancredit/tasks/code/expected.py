"""What the calls of a problem should return: its canonical solution is asked, in the sandbox like any other program."""

from dataclasses import replace

from spancredit.errors import DataError
from spancredit.sandbox import Call, Candidate, Outcome, Sandbox
from spancredit.tasks.code.problem import CodeProblem

RECORDER = """

def __record__():
    import copy, random
    made = []

    def candidate(*args, **kwargs):
        given = copy.deepcopy((args, kwargs))
        value = {entry_point}(*args, **kwargs)
        made.append((*given, copy.deepcopy(value)))
        return value

    random.seed(0)
    check(candidate)
    return made
"""


def complete(box: Sandbox, problem: CodeProblem) -> CodeProblem:
    """The problem with its calls and expected values; itself if it has them.

    A problem with a test has its calls recorded: the canonical solution is called by the test's assertions, so that
    these, and what they compare with, never meet a candidate. What a test draws at random it draws from seed 0.

    Raises:
        DataError: if the canonical solution does not answer every call within the sandbox's limits, or fails its test.
    """
    if problem.expected is not None:
        return problem
    code = problem.prompt + problem.solution
    if problem.test is None:
        (outcome,) = box.run([Candidate(code, problem.entry_point, problem.calls)])
        return replace(problem, expected=tuple(_values(problem, outcome)))
    code += "\n" + problem.test + RECORDER.format(entry_point=problem.entry_point)
    (outcome,) = box.run([Candidate(code, "__record__", (Call(),))])
    (recorded,) = _values(problem, outcome)
    calls = tuple(Call(args, kwargs) for args, kwargs, _ in recorded)
    return replace(problem, calls=calls, expected=tuple(value for _, _, value in recorded), test=None)


def _values(problem: CodeProblem, outcome: Outcome) -> list[object]:
    failed = [result for result in outcome.results if result.status != "value"]
    if outcome.status != "done" or failed:
        why = f"{failed[0].status} {failed[0].detail}" if outcome.status == "done" else outcome.status
        raise DataError(
            f"the canonical solution of {problem.name} gives no expected values ({f'{why} {outcome.detail}'.strip()}); "
            "expected wider limits of the sandbox, or another file."
        )
    return [result.value for result in outcome.results]
