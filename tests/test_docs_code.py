"""The documentation's code blocks: Python runs in order, one namespace a page; console commands run or are parsed.

A block that cannot run says so in the line above it, `<!-- not run: REASON -->`. It is compiled or parsed all the same.
A long one says there how it is made short: `<!-- run with: FLAGS -->`.
"""

import ast
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from checked_commands import check
from markdown_blocks import ROOT, Block, blocks_of, pages

from spancredit import cli
from spancredit.errors import SandboxError
from spancredit.models import BUNDLED, load_policy
from spancredit.study.plan import read_plan

BLOCKS = [block for page in pages() for block in blocks_of(page)]
PYTHON = sorted({block.page for block in BLOCKS if block.language == "python" and block.why_not is None})
CONSOLE = [block for block in BLOCKS if block.language == "console"]
PROBLEM = {"question": "Ann has 3 eggs and buys 4.", "answer": "3+4 = <<3+4=7>>7\n#### 7"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder in which what the pages take as given is there: a model, problems, a prompt, settings."""
    path = tmp_path_factory.mktemp("desk")
    for name in ("docs", "recipes", "benchmarks", "tools"):
        (path / name).symlink_to(ROOT / name)
    model, tokenizer = load_policy(BUNDLED)
    for name in ("my-model", "my-llama"):
        model.save_pretrained(path / name)
        tokenizer.save_pretrained(path / name)
    (path / "gsm8k").mkdir()
    for file in ("gsm8k/train.jsonl", "gsm8k/test.jsonl", "train.jsonl", "gsm8k.jsonl"):
        (path / file).write_text(f"{json.dumps(PROBLEM)}\n" * 8)
    for name in ("prompt.txt", "completion.txt"):
        shutil.copy(ROOT / "docs" / "examples" / name, path / name)
    (path / "my.yaml").write_text("task: wordproblems\ndifficulty: hard\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON)
def test_python_blocks_run_in_order(page, desk, monkeypatch):
    monkeypatch.chdir(desk)
    names = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language == "python" and block.why_not is None:
            try:
                exec(compiled(block), names)  # noqa: S102 (the page's own code)
            except SandboxError as error:
                pytest.skip(f"no sandbox works on this machine: {error}")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.place)
def test_a_python_block_compiles(block):
    compiled(block)


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in CONSOLE if b.why_not is None], ids=lambda block: block.place)
def test_a_console_block_runs(block, desk, monkeypatch, capsys):
    """In this process, by the command line's own entry: imports take longer than what the commands do."""
    monkeypatch.chdir(desk)
    for command in block.commands:
        assert command[0] == "spancredit", f"{command[0]} is not run here; expected <!-- not run: REASON --> above it"
        more = () if "--resume" in command else block.flags  # a run goes on with its own
        monkeypatch.setattr(sys, "argv", [*command, *more])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        assert not status, f"{block.place}: {' '.join(command)}\n{capsys.readouterr().err[-2000:]}"


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.place)
def test_the_commands_of_a_console_block_exist(block, desk, monkeypatch):
    monkeypatch.chdir(desk)
    assert block.commands, "a console block shows commands that begin with a dollar sign"
    for command in block.commands:
        check(command)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.place)
def test_a_yaml_block_is_what_a_command_reads(block, tmp_path):
    assert {"arms", "seeds"} <= set(yaml.safe_load(block.code)), "a study's file: else say here who reads it"
    path = tmp_path / "study.yaml"
    path.write_text(block.code)
    read_plan(path)


def test_a_block_says_its_language():
    assert {block.language for block in BLOCKS} <= {"python", "console", "yaml", "text"}
    fences = sum((ROOT / page).read_text(encoding="utf-8").count("```") for page in pages())
    assert fences == 2 * len(BLOCKS), "a fence that was not read: is it closed, and closed as it was opened?"


def test_how_many_blocks_run(capsys):
    counts = Counter((block.language, "run" if block.why_not is None else "not run") for block in BLOCKS)
    commands = Counter(block.why_not is None for block in CONSOLE for _ in block.commands)
    with capsys.disabled():
        print(
            f"\ncode blocks of the documentation: Python {counts['python', 'run']} run, "
            f"{counts['python', 'not run']} compiled; console {counts['console', 'run']} run ({commands[True]} "
            f"commands), {counts['console', 'not run']} parsed ({commands[False]} commands)"
        )
    assert counts["python", "run"] > 3 * counts["python", "not run"], "most Python runs"
    assert counts["console", "run"] >= 3


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["spancredit", "explain", "--modle", "x"], "modle"),
        (["spancredit", "explane"], "explane"),
        (["spancredit", "bench", "speed"], "speed"),
        (["spancredit", "train", "--credit_mdoe", "uniform"], "credit_mdoe"),
        (["spancredit", "train", "--credit_mode", "unifrom"], "unifrom"),
        (["spancredit", "train", "--config", "recipes/none.yaml"], "none.yaml"),
        (["python", "benchmarks/faults.py", "--problem", "3"], "--problem"),
        (["python", "benchmarks/fault.py"], "fault.py"),
        (["python", "-m", "verl.trainer.main_ppo", "+credit.mod=uniform"], "mod"),
        (["python", "-m", "verl.trainer.main_ppo", "+credit.mode=blame", "algorithm.use_kl_in_reward=True"], "kl"),
        (["pip", "install", "-e", ".[maths]"], "maths"),
        (["pip", "install", "-c", "constraint.txt", "x"], "constraint.txt"),
        (["make", "tests"], "tests"),
        (["accelerate", "launch", "--config_file", "recipes/accelerate/ddq.yaml", "-m", "spancredit"], "ddq"),
        (["spancredt"], "spancredt"),
    ],
    ids=" ".join,
)
def test_a_command_that_does_not_exist_is_noticed(command, said, desk, monkeypatch):
    monkeypatch.chdir(desk)
    with pytest.raises(Exception, match=said):
        check(command)


def compiled(block: Block):
    """Its code, whose lines have the numbers that they have on the page."""
    tree = ast.parse(block.code, block.page)
    return compile(ast.increment_lineno(tree, block.line - 1), str(ROOT / block.page), "exec")
