"""The public Python names as Markdown: signatures, and docstrings in the form that this project writes them."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import spancredit
from spancredit import errors
from spancredit.tasks.code import CodeProblem, Reward, call_probes, execution_credit
from spancredit.training.sampling import DynamicSamplingTrainer
from spancredit.training.trl import CreditBatch, CreditGRPOTrainer

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):$", re.MULTILINE)
ITEM = re.compile(r"^    (\S[^:\n]*): (.*(?:\n     +.*)*)", re.MULTILINE)
MODULES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=\w)")


def functions() -> str:
    found = [getattr(spancredit, name) for name in spancredit.__all__]
    return "\n\n".join(entry(one) for one in found if inspect.isfunction(one))


def values() -> str:
    """The dataclasses, but for the settings, which have a page."""
    found = [getattr(spancredit, name) for name in spancredit.__all__]
    return "\n\n".join(entry(one) for one in found if is_dataclass(one) and one is not spancredit.CreditConfig)


def trainers() -> str:
    return "\n\n".join(map(entry, (CreditGRPOTrainer, CreditBatch, DynamicSamplingTrainer)))


def code() -> str:
    return "\n\n".join(map(entry, (CodeProblem, Reward, execution_credit, call_probes)))


def error_rows() -> Iterator[tuple[str, str, str]]:
    """Every class of error, the class of Python's that it is, too, and what it says."""
    for name, one in vars(errors).items():
        if inspect.isclass(one) and issubclass(one, errors.SpanCreditError):
            kind = next(base for base in one.__mro__ if base.__module__ == "builtins")
            yield name, kind.__name__, inspect.getdoc(one) or ""


def arguments(one: Any) -> dict[str, str]:
    """Of a docstring's first section: what it says of each name."""
    return {names: _flowing(what) for names, what in ITEM.findall(SECTION.split(inspect.getdoc(one) or "")[2])}


def entry(one: Any) -> str:
    """A heading, the signature, and the docstring with its sections as lists."""
    text, *sections = SECTION.split(inspect.getdoc(one) or "")
    parts = [f"### {one.__name__}", f"```text\n{signature(one)}\n```", text.strip()]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        items = ITEM.findall(body)
        lines = [f"- {_names(names)}: {_flowing(what)}" for names, what in items] or [_flowing(body)]
        parts += [f"**{title}**", "\n".join(lines)]
    return "\n\n".join(parts)


def signature(one: Any) -> str:
    """One argument a line; types without the modules that they are from."""
    given = inspect.signature(one)
    parameters = list(given.parameters.values())
    lines = [MODULES.sub("", str(parameter)) for parameter in parameters]
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = given.return_annotation
    end = "" if returned in (given.empty, None) else f" -> {MODULES.sub('', inspect.formatannotation(returned))}"
    return f"{one.__name__}(\n" + "".join(f"    {line},\n" for line in lines) + f"){end}"


def _names(names: str) -> str:
    return ", ".join(f"`{name.strip()}`" for name in names.split(","))


def _flowing(text: str) -> str:
    return " ".join(text.split())
