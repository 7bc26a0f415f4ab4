"""The wheel, in an environment of its own: whole, small, typed, and it runs.

What it depends on comes from the environment of the tests, which is laid behind. `make wheel-test` installs it beside
what its lock names, and nothing else.
"""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from spancredit import __version__

ROOT = Path(__file__).parents[1]
DATA = ["py.typed", "model.safetensors", "tokenizer.json", "wordproblems.yaml", "page.html.j2", "page.css", "page.js"]
MOST_BYTES = 10_000_000
MYPY = """[mypy]
strict = true
[mypy-torch.*,transformers.*,datasets.*,numpy.*,scipy.*,tokenizers.*,accelerate.*]
follow_imports = skip
ignore_missing_imports = true
"""

pytestmark = pytest.mark.slow


def run(*command: object, **named: object) -> str:
    own = {"env": {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **{**own, **named})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'spancredit[dev]'")
    folder = tmp_path_factory.mktemp("dist")
    options = "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"
    run(sys.executable, "-m", "pip", "wheel", ROOT, "--wheel-dir", folder, *options, env=None)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The environment's folder of commands."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False)
    commands = folder / "bin"
    pip = sys.executable, "-m", "pip", "--python", commands / "python", "install"
    run(*pip, "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", wheel, env=None)
    (site,) = folder.glob("lib/python*/site-packages")
    behind = {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    (site / "behind.pth").write_text("\n".join({*behind, sysconfig.get_path("purelib")}))
    return commands


def test_it_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {entry.filename: entry.file_size for entry in file.infolist()}
    source = ROOT / "src" / "spancredit"
    ours = {name.removeprefix("spancredit/") for name in names if name.startswith("spancredit/")}
    written = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert ours == written
    assert {Path(name).name for name in ours} >= set(DATA)
    rest = {name.partition("/")[2] for name in names if not name.startswith("spancredit/")}
    assert rest == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert not any(Path(name).name.startswith("test_") for name in names)
    assert max((size, name) for name, size in names.items())[1].endswith("/model.safetensors")
    assert sum(names.values()) < MOST_BYTES


def test_its_metadata_is_the_projects(wheel):
    with zipfile.ZipFile(wheel) as file:
        metadata = message_from_string(file.read(f"spancredit-{__version__}.dist-info/METADATA").decode())
    assert (metadata["Name"], metadata["Version"]) == ("spancredit", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert any(line.startswith("torch>=") for line in metadata.get_all("Requires-Dist"))


def test_its_command_runs_with_the_bundled_policy(installed, tmp_path):
    assert run(installed / "spancredit", "--version", cwd=tmp_path).strip() == __version__
    where = run(installed / "python", "-c", "import spancredit; print(spancredit.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent), "what runs is what was installed"
    asked = "Question: Ana has 2 eggs and finds 3.\nSolution:", " Ana has 2 + 3 = 5 eggs.\n#### 5"
    page = tmp_path / "page.html"
    record = json.loads(run(installed / "spancredit", "explain", *asked, "--json", "--html", page, cwd=tmp_path))
    assert record["answer"]["text"].strip() == "5"
    assert record["answer_logp"] < 0
    assert [span["text"].strip() for span in record["spans"] if span["kind"] == "calculation"] == ["2 + 3 = 5"]
    assert "Content-Security-Policy" in page.read_text()


def test_a_users_program_is_checked_against_its_types(installed, tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed: pip install 'spancredit[dev]'")
    (tmp_path / "mypy.ini").write_text(MYPY)
    options = "--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path
    command = sys.executable, "-m", "mypy", "--python-executable", installed / "python", *options
    said = run(*command, ROOT / "tests" / "typed_consumer.py", cwd=tmp_path)
    assert said.strip() == "Success: no issues found in 1 source file"
