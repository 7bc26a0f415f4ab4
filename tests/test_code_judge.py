"""Verdicts, and what a candidate may do to its own: nothing. Rewards, settings, evaluation."""

import json
import subprocess
import sys
from itertools import islice
from math import comb

import psutil
import pytest
from chat_templates import CHATML, with_template

import spancredit as sc
from spancredit.commands.train_arguments import parse
from spancredit.errors import DataError, SandboxError
from spancredit.evaluation.result import paired, pass_at, summarise
from spancredit.evaluation.run import Decoding, run
from spancredit.sandbox import Call, Sandbox, process
from spancredit.tasks.code import CodeProblem, Reward, SandboxSettings, functions, judge
from spancredit.tasks.code.judge import STATUSES
from spancredit.tasks.code.reward import process_sandbox
from spancredit.tasks.settings import TaskSettings, settings_of
from spancredit.tasks.task import load_task

PROBLEM = CodeProblem("p", "def f(x):\n", "f", "    return [x, x]\n", (Call((1,)), Call(("a",))), ([1, 1], ["a", "a"]))
SETTINGS = SandboxSettings(seconds=2, processes=2)
ASKED = {"task": "code", "sandbox_seconds": 2.0, "sandbox_processes": 2, "held_out_problems": 6, "train_problems": 8}
pytestmark = pytest.mark.filterwarnings("ignore:spancredit. code runs in the sandbox")

ANY = "class Any{}:\n    def __eq__(self, other): return True\n    __hash__ = None\n"
CALLER = """import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, (tuple, list)) and [1, 1] in value:
                return [1, 1]
        frame = frame.f_back
"""
HEAP = """import gc
def f(x):
    for one in gc.get_objects():
        if isinstance(one, (list, tuple)) and len(one) == 2 and one[0] == [1, 1]:
            return one[0]
"""
BLOCKS = """import os
def f(x):
    for fd in range(3, 50):
        try:
            os.write(fd, b"\\0\\0\\0\\1E" * 9)
        except OSError:
            pass
    os._exit(0)
"""
FORGED = {
    "equal to anything": ANY.format("") + "f = lambda x: Any()",
    "a list that is": ANY.format("(list)") + "f = lambda x: Any()",
    "a string that is": ANY.format("(str)") + "f = lambda x: Any('x')",
    "its elements are": ANY.format("") + "f = lambda x: [Any(), Any()]",
    "the class of a list": ANY.format("") + "    __class__ = list\nf = lambda x: Any()",
    "exit 0 at once": "import sys\nsys.exit(0)\ndef f(x): pass",
    "exit 0 when called": "import sys\ndef f(x): sys.exit(0)",
    "a hard exit": "import os\ndef f(x): os._exit(0)",
    "words": "def f(x):\n    print('passed')\n    return 'passed'",
    "words at the end": "import atexit\natexit.register(print, 'passed')\ndef f(x): return 'passed'",
    "True": "def f(x): return True",
    "other builtins": "import builtins\nbuiltins.all = lambda _: True\ndef f(x): return None",
    "a look at the caller": CALLER,
    "a look at the heap": HEAP,
    "its own end": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)",
    "blocks of its own": BLOCKS,
}


@pytest.fixture(scope="module")
def box():
    with Sandbox("auto", 2, 20, cpu_seconds=2) as box:
        yield box


def judged(box, completion, problem=PROBLEM):
    (verdict,) = judge(box, [problem], [completion])
    return verdict


@pytest.mark.parametrize("name", FORGED)
def test_a_verdict_cannot_be_forged(box, name):
    verdict = judged(box, f"```python\n{FORGED[name]}\n```")
    assert not verdict.right
    assert not any(verdict.passed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("completion", "status", "passed"),
    [
        ("    return [x, x]", "passed", (True, True)),
        ("    return [1, 1]", "wrong", (True, False)),
        ("    return [x + 0, x]", "raised", (True, False)),
        ("    return (x, x)", "wrong", (False, False)),
        ("    return [x, x", "broken", (False, False)),
        ("```python\ndef g(x):\n    return [x, x]\n```", "broken", (False, False)),
        ("    while x == 'a': pass\n    return [x, x]", "cpu", (True, False)),
        ("    import os\n    if x == 'a': os._exit(0)\n    return [x, x]", "exited", (True, False)),
        ("    y = []\n    for _ in range(300): y = [y]\n    return y", "unsendable", (False, False)),
        ("    return 'a' * 10**10", "raised", (False, False)),
        ("", "broken", (False, False)),
    ],
)
def test_a_verdict_says_how_a_completion_fared(box, completion, status, passed):
    verdict = judged(box, completion)
    assert (verdict.status, verdict.passed) == (status, passed)
    assert verdict.share == sum(passed) / 2
    assert verdict.right is (status == "passed")
    assert verdict.status in STATUSES


@pytest.mark.slow
@pytest.mark.parametrize("body", ["raise KeyError", "return [[]] * 10**7", "import os; os._exit(0)"])
def test_a_call_without_a_value_is_none_that_returned_none(box, body):
    problem = CodeProblem("none", "def f(x):\n", "f", None, (Call((1,)), Call((2,))), (None, None))
    assert judged(box, "    return None", problem).right
    assert judged(box, f"    {body}", problem).passed == (False, False)


def test_verdicts_come_in_order_whatever_the_problems(box):
    problems = list(islice(functions.problems("train", 5, "easy"), 12))
    verdicts = judge(box, [*problems, *problems], [*(one.solution for one in problems), *["    return 12345"] * 12])
    assert [one.right for one in verdicts] == [True] * 12 + [False] * 12


def test_the_reward_has_trls_form():
    logged = {}
    reward = Reward([PROBLEM], SETTINGS)
    completions = ["    return [x, x]", [{"role": "assistant", "content": "    return [1, 1]"}], "    return"]
    assert reward(completions=completions, answer=["p"] * 3, prompts=[], log_metric=logged.__setitem__) == [
        1.0,
        0.0,
        0.0,
    ]
    assert reward.of_shares()(completions, ["p"] * 3) == [1.0, 0.5, 0.0]
    assert reward(completions, ["p"] * 3) == [1.0, 0.0, 0.0], "the other one left it alone"
    assert Reward([PROBLEM], SETTINGS, partial=True)(completions, ["p"] * 3) == [1.0, 0.5, 0.0]
    assert reward.__name__ == "code"
    assert logged == {f"code/{status}": {"passed": 1 / 3, "wrong": 2 / 3}.get(status, 0.0) for status in STATUSES}
    assert PROBLEM.row() == {"prompt": "def f(x):\n", "answer": "p", "solution": "    return [x, x]\n"}


def test_names_of_problems_are_known_and_differ():
    with pytest.raises(DataError, match="no problem has the name 'q'"):
        Reward([PROBLEM], SETTINGS)(["x"], ["q"])
    with pytest.raises(DataError, match="two problems have the name p"):
        Reward([PROBLEM, CodeProblem("p", "def f(y):\n", "f", "", (Call(),))], SETTINGS)


def test_a_process_has_one_sandbox_for_its_settings_and_says_its_level():
    with pytest.warns(UserWarning, match="code runs in the sandbox (bubblewrap|landlock)"):
        box = process_sandbox(SandboxSettings(seconds=3, processes=1))
    assert process_sandbox(SandboxSettings(seconds=3, processes=1)) is box
    assert (box.limits.seconds, box.limits.cpu_seconds, box.limits.memory) == (9.0, 3, 1 << 30)


@pytest.mark.slow
def test_the_sandbox_of_a_process_ends_with_it():
    script = (
        "import psutil\nfrom spancredit.tasks.code.reward import SandboxSettings, process_sandbox\n"
        "process_sandbox(SandboxSettings())\nprint([one.pid for one in psutil.Process().children(recursive=True)])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr.count("code runs in the sandbox") == 1
    started = json.loads(ran.stdout)
    assert started
    left = [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)]
    assert [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_nothing_runs_unconfined_unless_it_is_asked_for_by_name(monkeypatch):
    for level in ("bubblewrap", "landlock"):
        monkeypatch.setitem(process._COMMANDS, level, lambda _: ["false"])
    with pytest.raises(SandboxError, match="cannot be confined here"):
        load_task(TaskSettings(**{**ASKED, "sandbox_seconds": 1.5}), 0, with_template(None))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"code_set": "mbbp"}, "Did you mean 'mbpp'"),
        ({"code_set": "mbpp"}, r"expected --dataset with the folder of MbppPlus.jsonl.gz"),
        ({"dataset": "x"}, "expected none for this set"),
        ({"code_set": "humaneval", "dataset": "x"}, "expected none for this set"),
        ({"held_out_dataset": "x"}, "no setting of the task code"),
        ({"difficulty": "noisy"}, "unknown difficulty"),
        ({"answer_check": "math_verify"}, "strict check only"),
        ({"sandbox_level": "docker"}, "unknown level of the sandbox 'docker'"),
        ({"sandbox_seconds": 0.0}, "seconds are 0.0"),
        ({"sandbox_memory": 1}, "memory is 1; expected at least 64"),
        ({"sandbox_processes": 0}, "processes is 0"),
        ({"task": "gsm8k", "code_set": "mbpp"}, "no setting of the task gsm8k"),
        ({"task": "wordproblems", "sandbox_memory": 99}, "no setting of the task wordproblems"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(sc.ConfigError, match=said):
        TaskSettings(**{"task": "code", **settings})


def test_benchmarks_are_not_trained_on():
    with pytest.raises(sc.ConfigError, match="a benchmark; expected functions"):
        settings_of("train", "x", task="code", code_set="mbpp")
    with pytest.raises(sc.ConfigError, match="partial_reward is set"):
        parse(None, ["--partial_reward", "true"])
    assert parse(None, ["--task", "code", "--partial_reward", "true"])[0].partial_reward


def test_a_plain_prompt_is_continued_and_a_chat_answers_with_the_whole_function():
    plain = load_task(TaskSettings(**ASKED, few_shot=1), 0, with_template(None))
    shown, asked = list(islice(functions.problems("train", 0, "medium"), 2))
    assert plain.questions("train")[0].prompt == f"{shown.prompt}{shown.canonical}\n\n{asked.prompt}"
    assert "\ndef " in plain.prompting.stops
    assert plain.rows("train")[0]["answer"] == asked.name
    chat = load_task(TaskSettings(**ASKED, few_shot=1), 0, with_template(CHATML))
    _, assistant, question = chat.questions("held_out")[0].prompt
    assert assistant["content"] == f"```python\n{shown.prompt}{shown.canonical}```"
    assert question["content"].endswith("Write the whole function in one block of Python code.")
    assert chat.prompting.stops == ()
    assert chat.reward([assistant["content"]] * 1, [shown.name]) == [1.0], "what a prompt shows is right"


def test_held_out_problems_of_a_benchmark_are_those_of_its_file(tmp_path):
    line = {
        "task_id": "Mbpp/9",
        "prompt": '"""\nf\n"""\n',
        "entry_point": "f",
        "canonical_solution": "def f(x): return x\n",
    }
    (tmp_path / "MbppPlus.jsonl.gz").write_text(json.dumps({**line, "base_input": [[1]], "plus_input": [], "atol": 0}))
    task = load_task(TaskSettings(**ASKED, code_set="mbpp", dataset=str(tmp_path)), 0, with_template(None))
    assert [one.answer for one in task.questions("held_out")] == ["Mbpp/9"]
    assert all(one.answer.startswith("functions/") for one in task.questions("train"))
    assert task.reward(["def f(x): return x", "def f(x): return 1.5"], ["Mbpp/9"] * 2) == [1.0, 0.0]
    assert "\ndef " not in task.prompting.stops


def test_an_evaluation_says_how_completions_fared_and_gives_pass_at_k(policy, tmp_path):
    from spancredit.evaluation.folder import EvalFolder

    model, tokenizer = policy
    task = load_task(TaskSettings(**ASKED), 0, tokenizer)
    folder = EvalFolder.create(tmp_path / "e", {})
    rows = run(model, tokenizer, task, task.questions("held_out", 3), Decoding(2, 1.0, 8, 2, 0), folder, lambda _: None)
    assert all(
        one["status"] in STATUSES and not one["right"] for row in rows for one in (row["greedy"], *row["samples"])
    )
    found = summarise(rows)
    assert sum(found["statuses"].values()) == pytest.approx(1.0)
    assert set(found["pass_at"]) == {"1", "2"}
    assert not {"majority", "unread"} & set(found)
    with pytest.raises(sc.ConfigError, match="no answers to vote by"):
        paired(rows, rows, "majority")


def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_right_one():
    row = {"samples": [{"right": right} for right in (True, False, False, True, False)]}
    assert pass_at(row, 1) == pytest.approx(2 / 5)
    assert pass_at(row, 2) == pytest.approx(1 - comb(3, 2) / comb(5, 2))
    assert pass_at(row, 4) == 1.0
    assert pass_at({"samples": [{"right": False}] * 3}, 3) == 0.0
