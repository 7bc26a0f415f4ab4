"""The parts of the documentation that are made from the code: settings, metrics, commands, and Python's names (api.py).

A page marks where a table stands: `<!-- made from the code: NAME -->`, the table, `<!-- end -->`. The site is built
with fresh tables. `python docs/site/reference.py` writes them into the pages; a test fails where that changes one.
"""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import api
import commands
import yaml
from table import code, plain, table
from trl import GRPOConfig

from spancredit.commands.train_arguments import RECIPES, TaskArguments
from spancredit.config import BOUNDS, CreditConfig
from spancredit.report.glossary import METRICS, NAMED
from spancredit.study.plan import ARMS, Plan
from spancredit.study.planfile import read_plan
from spancredit.training.config import CreditGRPOConfig
from spancredit.training.sampling import DynamicSamplingConfig
from spancredit.types import REASONS

PAGES = Path(__file__).parents[1]
PLACE = re.compile(r"<!-- made from the code: ([\w ]+) -->\n.*?<!-- end -->", re.DOTALL)
WORDS = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", type(None): "`none`"}


def with_tables(text: str) -> str:
    """The page with every table as the code is now.

    Raises:
        KeyError: if a page asks for a table that there is none of.
    """
    return PLACE.sub(
        lambda found: f"<!-- made from the code: {found[1]} -->\n\n{TABLES[found[1]]()}\n\n<!-- end -->", text
    )


def credit_settings() -> str:
    return _settings(CreditConfig, fields(CreditConfig))


def trainer_settings() -> str:
    """What the trainers' configurations have beside TRL's fields and the credit settings."""
    stock = {f.name for f in fields(GRPOConfig)}
    own = [*fields(DynamicSamplingConfig), *fields(CreditGRPOConfig)]
    named = {f.name: f for f in own if f.name not in stock and not f.name.startswith("credit_")}
    return _settings(CreditGRPOConfig, named.values())


def task_settings() -> str:
    return _settings(TaskArguments, fields(TaskArguments))


def recipes() -> str:
    """What each bundled policy is trained with on its task, side by side."""
    columns = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RECIPES.glob("*.yaml"))}
    names = dict.fromkeys(name for values in columns.values() for name in values)
    cells = [
        (code(name), *(code(plain(values[name])) if name in values else "" for values in columns.values()))
        for name in names
    ]
    return table(("setting", *map(code, columns)), cells)


def arms() -> str:
    rows = [(code(arm), ", ".join(code(f"{k}: {v}") for k, v in own.items())) for arm, own in ARMS.items()]
    return table(("arm", "settings"), rows)


def study() -> str:
    """The keys of a study's file, with what a file that says nothing comes to."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.yaml"
        file.write_text("{}\n", encoding="utf-8")
        plan = read_plan(file)
    explained = api.arguments(Plan)
    values = {f.name: getattr(plan, f.name) for f in fields(Plan)}
    rows = [(code(name), code(_flow(value)), explained[name]) for name, value in values.items()]
    return table(("key", "default", "what"), rows)


def metrics() -> str:
    return table(("metric", "unit", "what"), [(code(m.name), m.unit, m.what) for m in METRICS])


def statuses() -> str:
    return ", ".join(map(code, NAMED["STATUS"])) + "."


def reasons() -> str:
    return table(("reason", "what"), [(code(name), what) for name, what in REASONS.items()])


def errors() -> str:
    rows = [(code(name), code(kind), what) for name, kind, what in api.error_rows()]
    return table(("error", "is also a", "what"), rows)


TABLES = {
    "credit settings": credit_settings,
    "trainer settings": trainer_settings,
    "task settings": task_settings,
    "recipes": recipes,
    "arms": arms,
    "study": study,
    "metrics": metrics,
    "statuses": statuses,
    "reasons": reasons,
    "commands": commands.commands,
    "functions": api.functions,
    "values": api.values,
    "trainers": api.trainers,
    "code": api.code,
    "errors": errors,
}


def _settings(owner: type, settings: Iterable[Field[Any]]) -> str:
    kinds = get_type_hints(owner)  # and not a field's own, which transformers' parser writes over
    rows = [
        (code(f.name), _values(f.name, kinds[f.name]), code(plain(f.default)), f.metadata["help"]) for f in settings
    ]
    return table(("setting", "values", "default", "what"), rows)


def _values(name: str, kind: Any) -> str:
    relation = " ".join(map(str, BOUNDS.get(name, ())))
    return f"{_kind(kind)}{', ' if relation else ''}{relation}"


def _kind(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_kind, get_args(kind)))
    if get_origin(kind) is Literal:
        return ", ".join(map(code, get_args(kind)))
    return WORDS[kind]


def _flow(value: Any) -> str:
    """A value of a study's file, on one line; arms by their names."""
    listed = list(value) if isinstance(value, (tuple, dict)) and value else value
    return yaml.safe_dump(listed, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def main() -> None:
    for page in sorted(PAGES.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if with_tables(text) != text:
            page.write_text(with_tables(text), encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
