"""Whether verl would train with credit here, and with this configuration: what verl itself says at DEBUG level only."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from spancredit.errors import ConfigError
from spancredit.training.verl.settings import MODE, credit_config, obstacles, without_effect

TESTED = "0.9.1"
GROUP, NAME = "verl.plugins", "spancredit"
ALLOWED = "VERL_USE_EXTERNAL_PLUGINS"
# What importing somebody else's package can raise; a failure of ours is one of these, too.
FAILURES = (ImportError, AttributeError, TypeError, ValueError, LookupError, OSError, RuntimeError, AssertionError)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    ok: bool
    text: str


def examine(arguments: Sequence[str]) -> list[Finding]:
    """Look at the installation, and at the configuration if there is one.

    Args:
        arguments: Overrides as `verl.trainer.main_ppo` takes them, and YAML files with values to lay over verl's.
    """
    try:
        found = version("verl")
    except PackageNotFoundError:
        return [Finding(False, "verl is not installed; expected: pip install 'spancredit[verl]'.")]
    findings = [Finding(True, f"verl {found} is installed{'' if found == TESTED else f' (tested: {TESTED})'}.")]
    for check in (_trl, _plugin, _mode):
        findings.append(check())
        if not findings[-1].ok:
            return findings
    return findings + (_configuration(arguments) if arguments else [])


def _trl() -> Finding:
    """verl looks for a class in any TRL that is installed, while it prepares the model."""
    try:
        found = version("trl")
    except PackageNotFoundError:
        return Finding(True, "trl is not installed, which verl does not need.")
    for place in ("trl.experimental.ppo", "trl"):
        if _failure(partial(_value_head, place)) is None:
            return Finding(True, f"trl {found} is installed, and has the class that verl looks for.")
    return Finding(
        False,
        f"trl {found} is installed, beside which verl cannot prepare a model: it imports a class that TRL has removed; "
        "expected: pip uninstall trl.",
    )


def _plugin() -> Finding:
    points = [point for point in entry_points(group=GROUP) if point.name == NAME]
    allowed = os.environ.get(ALLOWED, "auto").strip().lower()
    if not points:
        return Finding(
            False, f"no entry point {NAME} in group {GROUP}; expected spancredit to be installed, not only on the path."
        )
    if allowed != "auto" and NAME not in (name.strip() for name in allowed.split(",")):
        return Finding(False, f"{ALLOWED} is {allowed!r}, so verl loads no {NAME}; expected 'auto' or its name in it.")
    error = _failure(points[0].load)
    if error is not None:
        return Finding(False, f"the plugin cannot be imported, which verl hides: {type(error).__name__}: {error}")
    return Finding(True, f"the plugin is loaded: {points[0].value}.")


def _mode() -> Finding:
    registry = importlib.import_module("verl.trainer.ppo.v1.trainer_base").TRAINER_REGISTRY
    known = ", ".join(sorted(registry))
    if MODE in registry:
        return Finding(True, f"the trainer mode {MODE} is registered, beside {known.replace(f'{MODE}, ', '')}.")
    return Finding(False, f"the trainer mode {MODE} is not registered; there are {known}.")


def _configuration(arguments: Sequence[str]) -> list[Finding]:
    try:
        config = composed(arguments)
        settings = credit_config(config)
        wrong = [*without_effect(config), *obstacles(config)]
    except ConfigError as error:
        return [Finding(False, str(error))]
    if wrong:
        return [Finding(False, sentence) for sentence in wrong]
    if settings.mode == "uniform":
        return [Finding(True, "the configuration is uniform: verl's own training, nothing is measured.")]
    return [Finding(True, f"the configuration trains with credit: mode {settings.mode}, by {settings.intervention}.")]


def composed(arguments: Sequence[str]) -> Mapping[str, Any]:
    """verl's own configuration under these overrides, and under values from YAML files, as plain mappings.

    Raises:
        ConfigError: if Hydra refuses an override, or a file cannot be read.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    files = [one for one in arguments if "=" not in one and Path(one).suffix in (".yaml", ".yml")]
    overrides = [one for one in arguments if one not in files]
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=overrides)
        OmegaConf.set_struct(config, False)
        for file in files:
            values = OmegaConf.load(file)
            for own in ("defaults", "hydra"):
                values.pop(own, None)
            config = OmegaConf.merge(config, values)
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        raise ConfigError(f"verl cannot read this configuration: {str(error).strip().splitlines()[0]}") from error
    return dict(plain)


def _value_head(place: str) -> Any:
    return importlib.import_module(place).AutoModelForCausalLMWithValueHead


def _failure(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except FAILURES as error:
        return error
    return None
