"""What a verl configuration says about credit, and what in it would make credit wrong. Needs neither verl nor Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from spancredit.config import CreditConfig
from spancredit.counterfactual.engine import check_engine
from spancredit.errors import ConfigError, UnknownNameError

MODE = "spancredit"  # of trainer.v1.trainer_mode
COMMAND = "verl.trainer.main_ppo"
KEY = "credit"  # in verl's configuration: +credit.mode=counterfactual
TEMPERATURE = "actor_rollout_ref.rollout.temperature"
VERLS = {
    "temperature": TEMPERATURE,
    "max_tokens_per_forward": "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu or its dynamic counterpart",
}
SETTINGS = tuple(field.name for field in fields(CreditConfig) if field.name not in VERLS)
FIELDS = ["prompts", "responses", "response_mask", "advantages"]  # that a worker reads of verl's batch
WEIGHTS, TALLY, SENT = "credit_weights", "credit_tally", "credit_settings"  # what it writes, and the settings it gets
Tree = Mapping[str, Any]


def credit_config(config: Tree) -> CreditConfig:
    """The credit settings of a verl configuration: `CreditConfig`'s fields under the key `credit`.

    Args:
        config: The whole configuration as plain mappings.

    Raises:
        UnknownNameError: if a key is no setting.
        ConfigError: if a value is out of range, a key is for verl to set, or a setting needs more of the policy than
            log-probabilities of whole sequences.
    """
    given = config.get(KEY) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{KEY} is {given!r}; expected settings under it, such as +{KEY}.mode=counterfactual.")
    for name in given:
        if name in VERLS:
            raise ConfigError(f"{KEY}.{name} is set, which is taken from {VERLS[name]}; expected it there alone.")
        if name not in SETTINGS:
            raise UnknownNameError(f"setting under {KEY}", name, SETTINGS)
    settings = CreditConfig(**given, temperature=at(config, TEMPERATURE, 1.0))
    check_engine(settings)
    return settings


def obstacles(config: Tree) -> list[str]:
    """What in a configuration makes credit wrong or of no effect although verl would run; one sentence each.

    Where nothing is measured (mode `uniform`), nothing stands in the way.
    """
    if credit_config(config).mode == "uniform":
        return []
    loss = at(config, "actor_rollout_ref.actor.policy_loss.loss_mode", "vanilla")
    found = {
        f"actor_rollout_ref.actor.policy_loss.loss_mode is {loss!r}, which takes the mean of a sequence's advantages, "
        "so weights of mean 1 cancel out; expected a loss of single tokens, such as 'vanilla'": loss == "geo_mean",
        "algorithm.use_kl_in_reward is set, which makes the KL penalty a part of the advantages, which credit would "
        "weigh; expected actor_rollout_ref.actor.use_kl_loss": at(config, "algorithm.use_kl_in_reward", False),
        "distillation.enabled is set, whose loss is none of the policy's alone; expected no distillation": at(
            config, "distillation.enabled", False
        ),
    }
    return [f"{sentence}." for sentence, holds in found.items() if holds]


def without_effect(config: Tree) -> list[str]:
    """Why verl would not even start the credit trainer with this configuration, and train without credit."""
    mode, v1 = at(config, "trainer.v1.trainer_mode", "sync"), at(config, "trainer.use_v1", True)
    found = {
        f"trainer.use_v1 is {v1}: verl's old trainer loads no trainer of a plugin; expected True": not v1,
        f"trainer.v1.trainer_mode is {mode!r}, which trains without credit; expected {MODE!r}, which is synchronous "
        "(the asynchronous modes have no credit yet)": v1 and mode != MODE,
    }
    return [f"{sentence}." for sentence, holds in found.items() if holds]


def forgotten(command: Sequence[str]) -> str | None:
    """Why a command line of verl's that sets credit would train without it; None if it would not, or sets none.

    verl asks a plugin nothing about such a run, so this is the last place to notice. Settings that stand in a
    configuration file of the user's own are not seen, and a trainer mode within a mapping (`trainer.v1={...}`) or
    behind an interpolation (`${...}`) is Hydra's to read: such a command is let through.

    Args:
        command: As in `sys.orig_argv`: the interpreter, `-m verl.trainer.main_ppo`, and overrides.
    """
    verls = any(one == COMMAND or one.endswith(f"{COMMAND.replace('.', '/')}.py") for one in command)
    if not verls or any(one.startswith(("--config", "-cn", "-cp", "-cd")) for one in command):
        return None
    overrides = dict(one.lstrip("+").split("=", 1) for one in command if "=" in one and not one.startswith("-"))
    if not any(name.split(".")[0] == KEY for name in overrides):
        return None
    v1 = overrides.get("trainer.use_v1", "true").lower() not in ("false", "off", "no", "0")
    mode = overrides.get("trainer.v1.trainer_mode", "sync").strip("'\"")
    if "${" in mode or any(whole in overrides for whole in ("trainer", "trainer.v1")):
        mode = MODE  # for all that can be seen here
    return next(iter(without_effect({"trainer": {"use_v1": v1, "v1": {"trainer_mode": mode}}})), None)


def at(config: Tree, path: str, default: Any) -> Any:
    """The value at a dotted path, or the default if there is none."""
    node: Any = config
    for name in path.split("."):
        if not isinstance(node, Mapping) or node.get(name) is None:
            return default
        node = node[name]
    return node
