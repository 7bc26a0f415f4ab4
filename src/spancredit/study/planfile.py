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
        seeds=_seeds("seeds", given.get("seeds", [*range(5)])),
        rates=_rates(given.get("rates", [5e-5])),
        tuning_seeds=_seeds("tuning_seeds", given.get("tuning_seeds", [])),
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


def _seeds(name: str, given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(type(one) is int for one in given):
        raise ConfigError(f"{name} of the study is {given!r}; expected a list of whole numbers.")
    return tuple(given)


def _rates(given: Any) -> tuple[float, ...]:
    """To YAML `5e-5`, without a dot, is a text."""
    try:
        if not isinstance(given, list) or any(isinstance(one, bool) for one in given):
            raise TypeError
        return tuple(map(float, given))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"rates of the study is {given!r}; expected a list of numbers.") from error
