"""A study's plan, read from YAML."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from spancredit.errors import ConfigError, UnknownNameError
from spancredit.study.plan import ARMS, Plan


def read_plan(path: Path) -> Plan:
    """A plan from YAML. Arms are names, or a mapping of names to settings; a known name brings its own.

    Raises:
        ConfigError: if the file is missing, no YAML, or has a key or an arm that is not known.
    """
    if not path.is_file():
        raise ConfigError(f"the study's file is {str(path)!r}, which is no file; expected a YAML file.")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path} holds a {type(given).__name__}; expected a mapping.")
    known = [f.name for f in fields(Plan)]
    for key in given:
        if key not in known:
            raise UnknownNameError(f"key in {path}", key, known)
    arms = _arms(given.get("arms", ["uniform", "counterfactual", "inverted", "random"]))
    return Plan(
        arms=arms,
        seeds=_numbers(given, "seeds", int, range(5)),
        rates=_numbers(given, "rates", float, [5e-5]),
        tuning_seeds=_numbers(given, "tuning_seeds", int, []),
        settings=_mapping("settings", given.get("settings")),
        reference=str(given.get("reference", "uniform" if "uniform" in arms else next(iter(arms), ""))),
        measure=str(given.get("measure", "greedy")),
    )


def _arms(given: Any) -> dict[str, dict[str, Any]]:
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given))
    arms = _mapping("arms", given)
    for name, settings in arms.items():
        if settings is None and name not in ARMS:
            raise UnknownNameError("arm", name, ARMS)
    return {str(name): {**ARMS.get(str(name), {}), **_mapping(f"arm {name}", own)} for name, own in arms.items()}


def _mapping(what: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(f"{what} of the study is {given!r}; expected a mapping of settings.")
    return given


def _numbers(given: dict[str, Any], name: str, kind: type, default: Any) -> tuple[Any, ...]:
    values = given.get(name, default)
    try:
        return tuple(kind(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} of the study is {values!r}; expected a list of numbers.") from error
