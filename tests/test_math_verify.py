"""The check by math-verify: its verdicts, and that nothing it is given stops the process or outlives it."""

import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import psutil
import pytest
from chat_templates import with_template

import spancredit as sc
from spancredit.tasks import math_verify
from spancredit.tasks.settings import TaskSettings
from spancredit.tasks.task import load_task

TOWER = "\\boxed{9^{9^{9}}}"
needs_package = pytest.mark.skipif(find_spec("math_verify") is None, reason="the package math-verify is not installed")
SCRIPT = """
import sys, threading
from spancredit.tasks import math_verify
print(math_verify.reward(["#### 5"], ["5"]), math_verify._child({pid})._process.pid, flush=True)
{then}
"""


@pytest.fixture
def hasty(monkeypatch):
    """No completion is waited for longer than half a second."""
    monkeypatch.setattr(math_verify, "SECONDS", 0.5)


@pytest.fixture
def child():
    verifier = math_verify.Verifier()
    yield verifier
    verifier.close()


def script(then):
    code = SCRIPT.format(pid="__import__('os').getpid()", then=then)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def gone(pid, seconds=10.0):
    until = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@needs_package
@pytest.mark.parametrize(
    ("completion", "gold", "right"),
    [
        ("so.\n#### 18", "18", 1.0),
        ("so.\n#### 18 dollars", "18", 1.0),
        ("so.\n#### 17", "18", 0.0),
        ("so.\n#### -18", "18", 0.0),
        ("so.\n#### 1,200", "1,200", 1.0),
        ("so.\n#### 1200", "2 x 600 = 1200\n#### 1,200", 1.0),
        ("so $5 + 13 = 18$.\n#### 20", "18", 0.0),  # the line counts, not what stands before it
        ("so $\\boxed{\\frac{36}{2}}$", "18", 1.0),
        ("#### Step 1\n so \\boxed{18}", "18", 1.0),
        ("so \\boxed{18}\n#### Explanation\nfine", "18", 1.0),  # a heading
        ("so \\boxed{17}\n#### 18 ####", "18", 1.0),
        ("**#### 18**", "18", 1.0),
        ("Perhaps 18. I do not know.", "18", 1.0),
        ("#### 17, 18", "18", 1.0),
        ("\\boxed{x + x}", "2x", 1.0),
        ("\\boxed{\\frac{1}{2}}", "\\frac{2}{4}", 1.0),
        ("\\boxed{17} or \\boxed{18}", "18", 0.0),
        ("所以有十八个。", "18", 0.0),
        ("", "18", 0.0),
    ],
)
def test_the_verdict_is_that_of_the_package_on_the_part_that_answers(completion, gold, right):
    assert math_verify.reward([completion], [gold]) == [right]
    assert math_verify.reward([[{"role": "assistant", "content": completion}]], [gold]) == [right]


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("so \\boxed{36/2}", "36/2"),
        ("so \\boxed{ 36/2 }.\n#### Explanation", "36/2"),
        ("so\n#### $2x$", "$2x$"),
        ("so \\boxed{2x}\n#### 18", "18"),
        ("\\boxed{18} or \\boxed{36 / 2}", "18, 36 / 2"),
        ("#### 18.00 dollars", "18"),
        ("so \\boxed{18}\n#### Check: 9*2 = 18", "18"),
        ("\\boxed{18", None),
        ("so\n####", None),
        ("The answer is 18", None),
        ("", None),
    ],
)
def test_the_answer_read_for_a_vote_is_a_number_or_what_stands_there(completion, answer):
    read = math_verify.read(completion)
    assert (read if read is None else str(read)) == answer


@needs_package
def test_equal_answers_that_are_no_plain_number_vote_together_and_are_not_unread():
    task = load_task(TaskSettings(task="gsm8k", answer_check="math_verify"), 0, with_template(None))
    samples = ["so \\boxed{36/2}", "hence \\boxed{ 36/2}"] * 4
    assert task.reward(completions=samples, answer=["18"] * 8) == [1.0] * 8
    assert {task.read(one) for one in samples} == {"36/2"}
    strict = load_task(TaskSettings(task="gsm8k"), 0, with_template(None))
    assert {strict.read(one) for one in samples} == {None}


@pytest.mark.slow
@needs_package
def test_what_takes_too_long_is_zero_said_once_and_counted_and_the_next_is_judged(hasty, child, monkeypatch):
    monkeypatch.setattr(math_verify, "_child", lambda _: child)
    metrics = []

    def judged():
        completions = ["#### 5", TOWER, "#### 5"]
        return math_verify.reward(completions, ["5"] * 3, log_metric=lambda *pair: metrics.append(pair), prompts=[])

    with pytest.warns(
        UserWarning, match=r"did not judge '.*9\^\{9\^\{9\}\}.*' within 0.5 s; such answers score 0"
    ) as said:
        assert [judged(), judged()] == [[1.0, 0.0, 1.0]] * 2
    assert len([one for one in said if "spancredit" in str(one.message)]) == 1
    assert metrics == [("math_verify/unjudged", 1.0)] * 2
    assert child.unjudged == 2


@pytest.mark.slow
@needs_package
@pytest.mark.parametrize(
    "text",
    [
        TOWER * 30_000,
        "9" * 1_000_000,
        "#### " + "9" * 1_000_000,
        "\\boxed{" * 100_000,
        "$" * 1_000_000,
        "\ud800 \0 \n#### 4",
    ],
)
@pytest.mark.filterwarnings("ignore:spancredit. math-verify did not judge")
def test_a_megabyte_and_odd_characters_are_zero_and_soon(text, hasty):
    started = time.monotonic()
    assert math_verify.reward([text], ["5"]) == [0.0]
    assert time.monotonic() - started < 5


@pytest.mark.slow
@needs_package
@pytest.mark.filterwarnings("ignore:spancredit. math-verify did not judge")
def test_memory_is_bounded_too(hasty, child):
    assert child.verdict("5", "\\boxed{10^{10^{9}}}") is not True
    assert child.verdict("5", "#### 5") is True


@pytest.mark.slow
@needs_package
def test_a_child_that_died_between_two_questions_is_replaced(child):
    assert child.verdict("5", "#### 5") is True
    first = child._process
    first.kill()
    first.wait()
    assert child.verdict("5", "#### 5") is True
    assert child._process.pid != first.pid
    assert child.unjudged == 0


@pytest.mark.slow
@needs_package
def test_an_interrupt_takes_the_question_with_it(child, monkeypatch):
    """The reply to a question that nobody waits for is not taken for the next one's."""
    assert child.verdict("5", "#### 5") is True

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(math_verify, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            child.verdict("5", "#### 5")
    assert child.verdict("5", "#### 4") is False


@needs_package
def test_threads_take_turns(child):
    found = {}

    def ask(n):
        found[n] = [child.verdict(str(n), f"#### {m}") for m in range(8)]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [m == n for m in range(8)] for n in range(8)}


@needs_package
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_has_a_child_of_its_own():
    math_verify.reward(["#### 5"], ["5"])
    ours = math_verify._child(os.getpid())
    process = script(
        "import os\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print(math_verify.reward(['#### 5'], ['5']), math_verify._child(os.getpid())._process.pid, flush=True)"
    )
    lines = process.communicate(timeout=120)[0].split("\n")[:3]
    assert [line.split()[0] for line in lines] == ["[1.0]"] * 3
    parent, forked, parent_again = (int(line.split()[1]) for line in lines)
    assert parent == parent_again != forked
    assert gone(parent)
    assert gone(forked)
    assert ours.verdict("5", "#### 5") is True


@needs_package
@pytest.mark.slow
@pytest.mark.parametrize(
    "then",
    [
        "",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_no_child_outlives_its_process(then):
    process = script(then)
    line = process.stdout.readline()
    process.communicate(timeout=60)
    assert line.startswith("[1.0]")
    assert gone(int(line.split()[1]))


@needs_package
@pytest.mark.slow
def test_a_child_at_work_ends_soon_when_its_process_is_killed():
    ask = f"math_verify.SECONDS = 1; math_verify.reward([{TOWER!r}], ['5'])"
    process = script(f"threading.Thread(target=lambda: exec({ask!r})).start()\nprint('asked', flush=True)")
    pid = int(process.stdout.readline().split()[1])
    assert process.stdout.readline() == "asked\n"
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert gone(pid)


@needs_package
def test_a_gold_answer_that_cannot_be_parsed_is_refused():
    with pytest.raises(sc.SpanCreditError, match="cannot parse the gold answer ''; expected a number or LaTeX"):
        math_verify.reward(["#### 5"], [""])


def test_a_process_that_does_not_start_is_one_sentence(monkeypatch, capfd):
    monkeypatch.setattr(math_verify, "RUN", "raise SystemExit('it cannot')")
    with pytest.raises(sc.ConfigError, match="did not start within 60 s; expected 'import math_verify' to do"):
        math_verify.Verifier().verdict("5", "#### 5")
    assert "it cannot" in capfd.readouterr().err


def test_without_the_package_the_extra_is_named_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(math_verify, "find_spec", lambda _: None)
    settings = TaskSettings(task="gsm8k", answer_check="math_verify")
    for ask in (lambda: load_task(settings, 0, with_template(None)), lambda: math_verify.reward(["5"], ["5"])):
        with pytest.raises(sc.ConfigError, match=r"not installed: pip install 'spancredit\[math\]'"):
            ask()
