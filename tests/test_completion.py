"""What a shell offers at TAB: commands, the flags of each, those of TRL's parser after `train`, and values."""

import os
import subprocess
import sys

import pytest

from spancredit.commands.train_arguments import parse
from spancredit.commands.train_completion import completions


def test_flags_of_the_trainer_of_credit_and_of_the_task():
    flags = completions([], "--")
    assert {"--credit_mode", "--learning_rate", "--task", "--model_name_or_path", "--resume", "--config"} <= set(flags)
    assert len(flags) == len(set(flags)) > 200
    assert not any("-" in flag[2:] for flag in flags), "each in one spelling"
    assert completions(["--task", "gsm8k"], "--credit_bo") == ["--credit_boost"]


def test_values_where_there_are_few():
    assert "inverted" in completions(["--credit_mode"], "")
    assert completions(["--credit_mode"], "inv") == ["inverted"]
    assert completions(["--learning_rate"], "") == completions([], "") == completions(["--config"], "x") == []


def test_what_is_offered_is_taken():
    (flag,) = completions([], "--credit_mo")
    task, arguments, _ = parse(None, ["--task", "code", flag, "random"])
    assert (task.task, arguments.credit_mode) == ("code", "random")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("spancredit ", {"train", "explain", "report", "study"}),
        ("spancredit explain --in", {"--intervention"}),
        ("spancredit train --credit_m", {"--credit_mode", "--credit_max_spans"}),
        ("spancredit train --seed 1 --credit_mode ra", {"random"}),
    ],
)
def test_a_shell_is_told(words, offered):
    """As bash asks, through the script that --show-completion prints."""
    asked = {"_SPANCREDIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    script = "import sys; sys.argv = ['spancredit']; from spancredit.cli import app; app(prog_name='spancredit')"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert offered <= set(done.stdout.split()), done.stderr
    assert all(one.startswith(words.rpartition(" ")[2]) for one in done.stdout.split())
