"""What the calls of a problem should return: its canonical solution is asked, in the sandbox like any other program."""

import warnings
from dataclasses import replace

from spancredit.errors import DataError
from spancredit.sandbox import Call, Candidate, Outcome, Result, Sandbox
from spancredit.sandbox.inside.wire import encode
from spancredit.tasks.code.problem import CodeProblem

LARGEST = 1 << 31  # bytes of a value, which came through the sandbox and is smaller
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

    Calls whose values need more than the sandbox's memory, or with those before them more than half of its output, are
    left out, and a warning says how many: no candidate could answer them.

    Raises:
        DataError: if the canonical solution raises, is not through in time, or fails its test.
    """
    if problem.expected is not None:
        return problem
    code = problem.prompt + problem.solution
    if problem.test is None:
        (outcome,) = box.run([Candidate(code, problem.entry_point, problem.calls)])
        return _with_values(problem, outcome, box.limits.output // 2)
    code += "\n" + problem.test + RECORDER.format(entry_point=problem.entry_point)
    (outcome,) = box.run([Candidate(code, "__record__", (Call(),))])
    if outcome.status != "done" or outcome.results[0].status != "value":
        raise _error(problem, outcome, outcome.results[0])
    recorded = outcome.results[0].value
    calls = tuple(Call(args, kwargs) for args, kwargs, _ in recorded)
    return replace(problem, calls=calls, expected=tuple(value for _, _, value in recorded), test=None)


def _with_values(problem: CodeProblem, outcome: Outcome, most: int) -> CodeProblem:
    calls, expected = [], []
    for call, result in zip(problem.calls, outcome.results, strict=True):
        size = len(encode(result.value, LARGEST))
        if outcome.status != "done" or (result.status == "raised" and result.detail != "MemoryError"):
            raise _error(problem, outcome, result)
        if result.status == "value" and size <= most:
            most -= size
            calls.append(call)
            expected.append(result.value)
    if not calls:
        raise _error(problem, outcome, outcome.results[0])
    if left_out := len(problem.calls) - len(calls):
        message = (
            f"spancredit: {left_out} of the {len(problem.calls)} calls of {problem.name} are left out: what they "
            "return is more than the sandbox's limits permit."
        )
        warnings.warn(message, stacklevel=2)
    return replace(problem, calls=tuple(calls), expected=tuple(expected))


def _error(problem: CodeProblem, outcome: Outcome, result: Result) -> DataError:
    why = outcome.status if outcome.status != "done" else result.status
    detail = outcome.detail or result.detail
    return DataError(
        f"the canonical solution of {problem.name} gives no expected values ({f'{why} {detail}'.strip()}); expected "
        "one that answers every call within the sandbox's limits."
    )
