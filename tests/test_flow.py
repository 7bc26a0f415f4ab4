"""One direction of flow: nothing to the left imports anything to the right, in the order that design.md says."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "spancredit"
ORDER = re.findall(
    r"`([\w.]+)`", re.search(r"holds every import to: (.*?)\.\n\n", (ROOT / "docs/design.md").read_text(), re.DOTALL)[1]
)
PUBLIC = ("__init__", "__main__")  # the public names, loaded when asked for, and `python -m spancredit`
ALLOWED = {("types", "report.notebook")}  # a credit asks its view, when a notebook wants to see it


def read() -> dict[str, str]:
    """The text of every module, by its dotted name below the package."""
    return {
        ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for path in SOURCES.rglob("*.py")
    }


def imports(module: str, text: str, modules: Mapping[str, str]) -> set[str]:
    """The modules of the package that one of them imports, wherever in it."""
    return {name if name in modules else name.rpartition(".")[0] for name in own_names(module, text)} - {"", module}


@cache
def own_names(module: str, text: str) -> set[str]:
    """What it imports of the package: modules, and names in them."""
    package = ["spancredit", *module.split(".")[: None if is_package(module) else -1]]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            parent = ".".join([*start, *filter(None, [node.module])])
            found |= {f"{parent}.{alias.name}" for alias in node.names}
    return {name.removeprefix("spancredit.") for name in found if name.startswith("spancredit.")}


def is_package(module: str) -> bool:
    return (SOURCES / module.replace(".", "/")).is_dir()


def place(module: str) -> int:
    """In the order, by the longest name there that it stands under."""
    parts = module.split(".")
    known = [name for i in range(len(parts)) if (name := ".".join(parts[: i + 1])) in ORDER]
    assert known, f"{module} has no place in the order that docs/design.md says"
    return ORDER.index(known[-1])


def to_the_right(modules: Mapping[str, str]) -> set[tuple[str, str]]:
    return {
        (module, other)
        for module, text in modules.items()
        if module not in PUBLIC
        for other in imports(module, text, modules)
        if place(other) > place(module)
    }


def test_the_order_names_what_there_is():
    there = {path.stem for path in SOURCES.glob("*.py")} | {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    assert {name.split(".")[0] for name in ORDER} == there - set(PUBLIC)
    assert len(ORDER) == len(set(ORDER))
    assert set(ORDER) <= set(read())


def test_nothing_imports_what_stands_to_its_right():
    assert to_the_right(read()) == ALLOWED


def test_no_modules_import_each_other():
    modules = read()
    graph = {
        module: {other for other in imports(module, text, modules) if (module, other) not in ALLOWED}
        for module, text in modules.items()
        if module not in PUBLIC
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("module", "line", "other"),
    [
        ("config", "from spancredit.counterfactual.proxies import score_proxy", "counterfactual.proxies"),
        ("config", "from spancredit import weighting", "weighting"),
        ("text.segment", "def late():\n    import spancredit.credit", "credit"),
        ("text.segment", "from .. import credit", "credit"),
        ("text", "from ..tasks import settings", "tasks.settings"),
        ("doctor.costs", "from spancredit.doctor.checks.cost import SHARE", "doctor.checks.cost"),
        ("types", "from spancredit.report import figures", "report.figures"),
        ("validation", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import spancredit.plan", "plan"),
    ],
)
def test_a_planted_import_to_the_right_is_found(module, line, other):
    modules = read()
    modules[module] += f"\n{line}\n"
    assert to_the_right(modules) - ALLOWED == {(module, other)}


def test_a_planted_cycle_within_a_package_is_found(monkeypatch):
    modules = read()
    modules["text.align"] += "\nfrom spancredit.text.segment import segment\n"
    monkeypatch.setitem(globals(), "read", lambda: modules)
    with pytest.raises(CycleError):
        test_no_modules_import_each_other()
