"""The truth about completions of the embedded task, as the benchmarks read it."""

import sys
from itertools import islice
from pathlib import Path

import pytest

from spancredit.tasks.wordproblems import DIFFICULTIES, problems

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from roles import first_fault, read_solution


def draw(count=200, **named):
    return list(islice(problems("train", **named), count))


@pytest.mark.parametrize("name", DIFFICULTIES)
def test_gold_solutions_read_back_as_all_right_and_tiled(name):
    for problem in draw(difficulty=name, count=100):
        stretches = read_solution(problem.solution, problem)
        assert [s.start for s in stretches] == [0, *(s.end for s in stretches[:-1])]
        assert stretches[-1].end == len(problem.solution)
        assert [s.step for s in stretches if s.role == "calculation"] == list(range(len(problem.steps)))
        assert all(s.right for s in stretches if s.role in ("calculation", "lead_in", "answer"))
        assert "other" not in {s.role for s in stretches}
        assert first_fault(stretches) is None


def test_a_sampled_completion_is_judged_stretch_by_stretch():
    problem = next(p for p in draw() if [s.op for s in p.steps][:2] == ["+", "-"])
    true, name = problem.steps, problem.question.split()[0]
    text = f" Okay. What remains is {true[0]}.\nAnd so. {name} is left with {true[1].left} - 1 = 0 eggs.\n#### 0"
    stretches = read_solution(text, problem)
    found = [(s.role, s.step, s.right, text[s.start : s.end].strip()) for s in stretches]
    assert found[:3] == [
        ("filler", None, None, "Okay."),
        ("lead_in", 0, False, "What remains is"),
        ("calculation", 0, True, str(true[0])),
    ]
    assert found[4:7] == [
        ("other", None, None, "And so."),
        ("lead_in", 1, True, f"{name} is left with"),
        ("calculation", 1, False, f"{true[1].left} - 1 = 0"),
    ]
    assert found[-2:] == [("marker", None, None, "####"), ("answer", None, problem.answer == 0, "0")]
    assert first_fault(stretches) == 1


def test_a_completion_without_an_answer_still_tiles():
    problem = draw(count=1)[0]
    stretches = read_solution(" Ana", problem)
    assert [(s.start, s.end, s.role) for s in stretches] == [(0, 4, "other")]
