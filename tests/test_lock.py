"""The locks: what is installed is what was chosen, every file of it by its hash, from wherever it comes."""

import re
from pathlib import Path

import pytest
from test_dependencies import EXTRA, NEEDED, PROJECT, normal

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
NOT_LOCKED = {"torch"}  # whose files are others for each CPU and GPU
OF_OTHER_EXTRAS = {"verl", "transferqueue", "cachetools", "fastapi", "msgspec", "pyzmq", "uvicorn"}


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    found = [re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines if line and not line.startswith(("#", " "))]
    assert all(found), "every package by its exact version"
    return {normal(one[1]): one[2] for one in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_none_an_address(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry), entry.partition("\n")[0]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_versions_are_those_that_are_tested(lock):
    chosen = pins("constraints.txt")
    for name, number in pins(lock).items():
        assert chosen.get(name, number) == number, f"{name}: run `make lock` after constraints.txt"


def test_everything_that_is_declared_is_locked():
    dev = {normal(one) for one in PROJECT["optional-dependencies"]["dev"]}
    assert pins(LOCKS[0]).keys() >= NEEDED - NOT_LOCKED
    assert pins(LOCKS[1]).keys() >= (NEEDED | EXTRA | dev) - NOT_LOCKED - OF_OTHER_EXTRAS
    assert not pins(LOCKS[1]).keys() & NOT_LOCKED
    assert pins(LOCKS[0]).items() <= pins(LOCKS[1]).items(), "what is developed with is what is used"
    assert "hatchling" in pins(LOCKS[0]), "what builds the package is locked, too"


def test_torch_is_pinned_beside_them():
    (metadata,) = re.findall(r'name = "torch"\nversion = "([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pins("constraints.txt")["torch"] == metadata
