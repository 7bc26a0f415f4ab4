"""What documents and files beside the code say of it: versions, hooks, and where things are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_blocks import ROOT, pages
from test_dependencies import PROJECT, SOURCE, normal

from spancredit import __version__

HOOKS = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
]
NO_CODE = {"policies", "recipes"}


def test_pages_name_the_pythons_that_the_project_takes():
    first, behind = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    expected = f"Python 3.{first} to 3.{int(behind) - 1}"
    said = {page: re.findall(r"Python 3\.\d+ to 3\.\d+", (ROOT / page).read_text(encoding="utf-8")) for page in pages()}
    assert {page for page, found in said.items() if found} >= {"README.md", "docs/quickstart.md"}
    assert {one for found in said.values() for one in found} == {expected}


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert all(citation[field] for field in ("cff-version", "message", "title", "authors")), "what the format demands"
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2602.09331"


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_is_a_command_that_runs_here(hook, tmp_path):
    program, *options = hook["entry"].split()
    assert (hook["language"], program.rpartition("/")[0]) == ("system", ".venv/bin"), "what `make unit` installed"
    name = Path(program).name
    assert name in {normal(one) for one in PROJECT["optional-dependencies"]["dev"]}
    file = tmp_path / "fine.py"
    file.write_text("A = 1\n")
    given = [str(file)] if hook.get("pass_filenames", True) else ["--version"]
    command = [str(Path(sys.executable).with_name(name)), *options, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_hooks():
    assert {hook["id"] for hook in HOOKS} >= {"ruff", "ruff-format", "mypy"}


def test_every_folder_of_the_source_has_a_row_that_says_where_to_change_it():
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    table = "\n".join(line.split(" | ")[1] for line in page.splitlines() if line.startswith("| ") and ".py" in line)
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))} - NO_CODE
    assert len(folders) > 8
    assert sorted(folder for folder in folders if f"`{folder}/" not in table) == []
    assert "`docs/site/`" in table


def test_a_row_names_folders_and_tests_that_exist():
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) > 25
    for _, where, tests in rows:
        for folder in re.findall(r"`([\w/]+/)`", where):
            assert (SOURCE / folder).is_dir() or (ROOT / folder).is_dir(), where
        for name in re.findall(r"`(\w+\.py)`", tests):
            assert (ROOT / "tests" / name).is_file(), tests
