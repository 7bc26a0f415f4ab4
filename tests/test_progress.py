"""What a run says of itself without a terminal: its first and last steps, and each after a while."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from spancredit.report import progress as module
from spancredit.report.progress import LINE_EVERY, UNSCORED, RunProgress


def step(n, **credit):
    return {
        "step": n,
        "reward": 0.5,
        "credit/scored": 0.5,
        **{f"credit/{name}": value for name, value in credit.items()},
    }


def said(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("step", "No rollout"))]


@pytest.fixture
def shown(monkeypatch):
    own = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: own.now)
    own.progress = RunProgress(Console(width=200))
    return own


def test_first_and_last_step_and_every_tenth_are_lines(shown, capsys):
    shown.progress.expect(13)
    for n in range(1, 14):
        shown.progress.log(step(n))
    assert [int(line.split()[1]) for line in said(capsys)] == [1, LINE_EVERY, 13]


def test_a_step_that_comes_after_a_while_is_a_line(shown, capsys):
    for n in range(1, 6):
        shown.now += 20
        shown.progress.log(step(n))
    assert [int(line.split()[1]) for line in said(capsys)] == [1, 3, 5]


@pytest.mark.parametrize(
    ("credit", "words"),
    [
        ({"unscored/zero_advantage": 0.9, "unscored/no_answer": 0.1}, "(no_answer: no answer was found"),
        ({"unscored/zero_advantage": 1.0, "unscored/no_answer": 0.0}, "(zero_advantage: the advantage is 0"),
        ({"unscored/uniform": 1.0}, None),
    ],
)
def test_a_run_of_which_nothing_is_scored_says_so_once(shown, capsys, credit, words):
    for n in range(1, 3 * UNSCORED):
        shown.progress.log(step(n, scored=0.0, **credit))
    found = [line for line in said(capsys) if line.startswith("No rollout")]
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_a_run_that_scores_now_and_then_says_nothing(shown, capsys):
    for n in range(1, 3 * UNSCORED):
        shown.progress.log(step(n, scored=float(n == 2)))
    assert not any(line.startswith("No rollout") for line in said(capsys))
