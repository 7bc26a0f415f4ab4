"""The documentation's code blocks: Python runs in order, one namespace a page; console commands run or are parsed.

A block that cannot run says so in the line above it, and is compiled or parsed all the same; a long one says there that
it is made short (markdown_blocks.py has the marks, desk_for_tests.py what stands in for models and data of yours).
"""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from checked_commands import check
from desk_for_tests import NEEDED, flags_for, lay, prepare, run
from markdown_blocks import ROOT, Block, blocks_of, pages

import spancredit
from spancredit.errors import SandboxError
from spancredit.study.planfile import read_plan

BLOCKS = [block for page in pages() for block in blocks_of(page)]
PYTHON = sorted({block.page for block in BLOCKS if block.language == "python" and block.why_not is None})
CONSOLE = [block for block in BLOCKS if block.language == "console"]
# How many blocks run, in whole or in part: one that no longer does is missed.
EXPECTED = {"python": 14, "console": 25}


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    return lay(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def at_desk(desk, monkeypatch):
    """The current folder; processes that a command starts find the package that is tested."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("PYTHONPATH", str(Path(spancredit.__file__).parents[1]))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


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
@pytest.mark.usefixtures("at_desk")
def test_a_console_block_runs(block, capsys):
    assert block.run_commands, "all of it is left out; expected <!-- not run: REASON -->"
    for command in block.run_commands:
        assert command[0] == "spancredit", f"{command[0]} is not run here; expected a mark above it that says why"
        for package in NEEDED.keys() & set(command):
            pytest.importorskip(NEEDED[package])
        prepare(command)
        capsys.readouterr()
        status = run([*command, *flags_for(command, block)])
        said = capsys.readouterr()
        if status == 2 and "untrusted code cannot be confined here" in said.err:
            pytest.skip(f"no sandbox works on this machine: {said.err}")
        if command[1] == "doctor" and status == 1:  # it ran, and found something in the stand-in
            assert not re.search(r'^error +refused|"name": "refused"', said.out, re.MULTILINE), said.out
        else:
            assert status == 0, f"{block.place}: {' '.join(command)}\n{said.err[-2000:]}"


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
    shown, ran = sum(len(block.commands) for block in CONSOLE), sum(len(block.run_commands) for block in CONSOLE)
    with capsys.disabled():
        print(
            f"\ncode blocks of the documentation: Python {counts['python', 'run']} run, "
            f"{counts['python', 'not run']} compiled; console {counts['console', 'run']} run ({ran} commands), "
            f"{counts['console', 'not run']} parsed (with the rest of the others: {shown - ran} commands)"
        )
    assert {language: counts[language, "run"] for language in EXPECTED} == EXPECTED


def test_what_is_left_out_says_why():
    for block in CONSOLE:
        assert block.why_not is None or len(block.why_not) > 4, block.place
        for word in block.but_for:
            assert any(word in command for command in block.commands), f"{block.place} leaves out {word}, and has none"


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("<!-- not run -->", "cannot be read"),
        ("<!-- but for wandb -->", "cannot be read"),
        ("<!-- run with -->", "cannot be read"),
        ("<!-- not run: hours -->\n<!-- run short -->", "exclude each other"),
    ],
)
def test_a_mark_that_says_nothing_is_noticed(mark, said, tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text(f"{mark}\n```console\n$ spancredit train\n```\n")
    monkeypatch.setattr("markdown_blocks.ROOT", tmp_path)
    with pytest.raises(AssertionError, match=said):
        blocks_of("page.md")


def test_marks_are_read(tmp_path, monkeypatch):
    marks = "<!-- run short: --seed 1 -->\n<!-- but for wandb: needs it -->\n"
    (tmp_path / "page.md").write_text(
        f"{marks}```console\n$ spancredit explain\n$ spancredit eval --report_to wandb\n```\n"
    )
    monkeypatch.setattr("markdown_blocks.ROOT", tmp_path)
    (block,) = blocks_of("page.md")
    assert (block.short, block.flags, block.but_for) == (True, ("--seed", "1"), ("wandb",))
    assert block.run_commands == [["spancredit", "explain"]]
    assert flags_for(["spancredit", "explain"], block) == ["--max_new_tokens", "32", "--seed", "1"]
    assert flags_for(["spancredit", "compare", "a", "b"], block) == []
    assert flags_for(["spancredit", "train", "--resume"], block) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["spancredit", "explain", "--modle", "x"], "modle"),
        (["spancredit", "explane"], "explane"),
        (["spancredit", "--verison"], "verison"),
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
