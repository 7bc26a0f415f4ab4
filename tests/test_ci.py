"""What runs by itself: nothing that a machine is meant to have is left out, and what cannot be had is said."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_blocks import ROOT
from required import VARIABLE, missing

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SKIPPED = """
import pytest
from pages_for_tests import browser_only

@browser_only
def test_a_page(): pass

@pytest.fixture
def box(): pytest.skip("bubblewrap: there is no program 'bwrap'")

def test_a_program(box): pass

@pytest.mark.xfail(reason="chromium is known to fail here")
def test_known(): raise ValueError
"""


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("required", "failed"),
    [("", 0), ("tensorboard", 0), ("chromium", 1), ("chromium,bubblewrap", 2)],
)
def test_a_skip_fails_where_what_it_wants_is_required(required, failed, tmp_path):
    (tmp_path / "test_sample.py").write_text(SKIPPED)
    environment = {**os.environ, "PATH": str(tmp_path), VARIABLE: required}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-p", "required", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (failed|error|errors|skipped|xfailed)", done.stdout)
    }
    assert counts.pop("xfailed") == 1, done.stdout
    assert sum(counts.pop(word, 0) for word in ("failed", "error", "errors")) == failed, done.stdout
    assert counts == ({"skipped": 2 - failed} if failed < 2 else {})
    assert done.returncode == (1 if failed else 0)


def test_the_words_of_a_reason():
    assert missing("there is no chromium on the path", "chromium,bubblewrap") == ["chromium"]
    assert missing("Bubblewrap does not work", "chromium,bubblewrap") == ["bubblewrap"]
    assert missing("the real GSM8K is not here", "chromium,bubblewrap") == missing("anything", "") == []


@pytest.fixture
def machine(tmp_path) -> Path:
    """A folder of programs that is all that a machine has: apt-get installs nothing, make says what it is told."""
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    program(tmp_path / "make", f'echo "make $* with [${VARIABLE}]"')
    program(tmp_path / "apt-get", "exit 1")
    return tmp_path


def ci(machine: Path) -> subprocess.CompletedProcess:
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run")], env={"PATH": str(machine)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_ci_requires_what_is_here_and_says_what_is_missing(machine):
    program(machine / "chromium", "exit 0")
    done = ci(machine)
    assert done.stdout.splitlines() == [
        f"make {target} with [chromium]" for target in ("test", "wheel-test", "test-verl")
    ]
    assert "MISSING: bubblewrap could not be installed" in done.stderr
    assert "chromium" not in done.stderr


def test_ci_installs_what_is_missing(machine):
    (machine / "ln").symlink_to(shutil.which("ln"))
    (machine / "true").symlink_to(shutil.which("true"))
    program(
        machine / "apt-get",
        f'for last; do :; done; name=$last\n[ "$name" = bubblewrap ] && name=bwrap\n'
        f'[ "$1" = install ] && ln -s {machine}/true {machine}/$name; exit 0',
    )
    done = ci(machine)
    assert set(re.search(r"with \[(.*)\]", done.stdout)[1].split(",")) == {"chromium", "bubblewrap"}
    assert "MISSING" not in done.stderr


def test_ci_does_not_require_a_sandbox_that_does_not_work(machine):
    program(machine / "bwrap", "exit 1")
    done = ci(machine)
    assert "make test with []" in done.stdout
    assert "bubblewrap is installed and does not work here" in done.stderr


@pytest.mark.parametrize("pins", ["requirements-dev.lock", "constraints.txt", "constraints-verl.txt"])
def test_an_audit_reads_every_pin(pins):
    recipe = re.search(r"^audit:\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    assert pins in recipe
    assert recipe.count("pip-audit --strict") == len(recipe.splitlines()), (
        "none says that there is nothing when it asked nobody"
    )


def test_what_runs_by_itself_is_what_the_makefile_has():
    targets = re.findall(r"^make ([\w-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets == ["test", "wheel-test", "test-verl"]
    assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in targets)
    assert "audit" not in targets, "it needs a service: see SECURITY.md, and CONTRIBUTING.md on releases"
