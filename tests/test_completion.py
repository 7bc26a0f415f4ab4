"""What a shell offers at TAB: commands, the flags of each, those of TRL's parser after `train`, and values."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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


SCRIPT = "import sys; sys.argv[0] = 'spancredit'; from spancredit.cli import app; app(prog_name='spancredit')"
PLACES = {  # what --install-completion writes in the home folder, and the file that reads it when the shell starts
    "bash": (".bash_completions/spancredit.sh", ".bashrc"),
    "zsh": (".zfunc/_spancredit", ".zshrc"),
    "fish": (".config/fish/completions/spancredit.fish", None),
}


def offers(shell: str, words: str) -> list[str]:
    """What is offered at the end of these words: asked, and read, as by the script of --show-completion."""
    asked = {"_SPANCREDIT_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
    asked |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    if shell == "zsh":
        return re.findall(r"^\(?\(?\"([^\"]+)\":?", done.stdout.removeprefix("_arguments '*: :"), re.MULTILINE)
    lines = [line for line in done.stdout.splitlines() if line]
    return [line.partition("\t")[0] for line in lines] if shell == "fish" else done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("shell", PLACES)
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("spancredit ", {"train", "explain", "report", "study"}),
        ("spancredit explain --in", {"--intervention"}),
        ("spancredit train --credit_m", {"--credit_mode", "--credit_max_spans"}),
        ("spancredit train --seed 1 --credit_mode ra", {"random"}),
    ],
)
def test_a_shell_is_told(shell, words, offered):
    found = offers(shell, words)
    assert offered <= set(found)
    assert all(one.startswith(words.rpartition(" ")[2]) for one in found)


@pytest.fixture
def home(tmp_path) -> Path:
    """A home folder with a `bin` in which spancredit is, and each shell: bash, under the name that is looked for."""
    (tmp_path / "bin").mkdir()
    for shell in PLACES:
        (tmp_path / "bin" / shell).symlink_to(shutil.which("bash"))
    program = tmp_path / "bin" / "spancredit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{SCRIPT}" "$@"\n')
    program.chmod(0o755)
    return tmp_path


def ask(home: Path, shell: str, script: str) -> str:
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [str(home / "bin" / shell), "--norc", "-c", f"{script}; status=$?; exit $status"]  # and stays the parent
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", PLACES)
def test_completion_is_installed_for_the_shell_that_asks(shell, home):
    said = ask(home, shell, "spancredit --install-completion")
    place, start = PLACES[shell]
    assert f"{shell} completion installed in {home / place}" in said
    assert f"_SPANCREDIT_COMPLETE=complete_{shell}" in (home / place).read_text()
    assert start is None or Path(place).parts[0] in (home / start).read_text()
    there = {path.relative_to(home).parts[0] for path in home.iterdir()}
    assert there == {"bin", Path(place).parts[0], *([start] if start else [])}, "and nothing else is written"


@pytest.mark.slow
def test_what_is_installed_completes(home):
    ask(home, "bash", "spancredit --install-completion")
    typed = "COMP_WORDS=(spancredit expl); COMP_CWORD=1; _spancredit_completion spancredit; echo ${COMPREPLY[@]}"
    assert ask(home, "bash", f"source ~/.bashrc; {typed}").split() == ["explain"]
