"""What `spancredit train` takes, as flags or YAML: the task, TRL's GRPOConfig and ModelConfig, and `credit_*`."""

import difflib
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from trl import ModelConfig

from spancredit.commands.train_parser import FlagParser, SettingsParser
from spancredit.errors import ConfigError, UnknownNameError
from spancredit.tasks.settings import TaskSettings, bundled_for
from spancredit.training.config import CreditGRPOConfig

RECIPES = Path(__file__).parents[1] / "recipes"  # of the bundled policies, each on its task


@dataclass
class TaskArguments(TaskSettings):
    """The task, and what is kept of the run.

    Raises:
        ConfigError: if a count is too small, or the task's settings do not fit.
    """

    held_out_steps: int = field(default=20, metadata={"help": "Steps between held-out evaluations; 0: start and end."})
    held_out_sampled: bool = field(
        default=False, metadata={"help": "Whether held-out problems are sampled too, once each, as in training."}
    )
    held_out_batch: int = field(default=250, metadata={"help": "Held-out problems that are decoded at a time."})
    overlong_cache: int = field(
        default=0,
        metadata={
            "help": "Tokens before max_completion_length over which the reward falls by up to 1 (DAPO's soft overlong "
            "punishment); 0: it does not."
        },
    )
    partial_reward: bool = field(
        default=False,
        metadata={"help": "Of code: whether the share of tests passed is the reward, not all or nothing."},
    )
    records_per_step: int = field(default=16, metadata={"help": "Rollouts of each batch that go into records.jsonl."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.partial_reward and self.task != "code":
            raise ConfigError(f"partial_reward is set, and no setting of the task {self.task}.")
        for name, least in {
            "held_out_steps": 0,
            "held_out_batch": 1,
            "overlong_cache": 0,
            "records_per_step": 0,
        }.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}.")


@dataclass(frozen=True)
class Request:
    """A command line, read: what decides which settings there are, and the settings.

    Args:
        resume: Whether a run is to be continued.
        output_dir: The run folder that was asked for, or None.
        config: The YAML file that was given, or None.
        flags: The command line without these three.
    """

    resume: bool
    output_dir: Path | None
    config: Path | None
    flags: list[str]


def read_request(argv: list[str]) -> Request:
    """Take apart a command line; both spellings of a flag (`--output_dir`, `--output-dir`) and `--flag=value` count."""
    parser = FlagParser(prog="spancredit train", add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--output_dir", "--output-dir", type=Path)
    parser.add_argument("--config", type=Path)
    known, flags = parser.parse_known_args(argv)
    if known.resume and (known.config or flags):
        got = " ".join(map(str, ["--config", known.config] if known.config else flags))
        raise ConfigError(
            f"--resume continues a run with its own settings; got {got}, expected at most --output_dir. Another run "
            "goes on from its weights by --model_name_or_path and its folder's model/."
        )
    settings = read_yaml(known.config) if known.config else {}
    return Request(known.resume, known.output_dir or _path(settings.get("output_dir")), known.config, flags)


def parse(config: Path | None, flags: list[str]) -> tuple[TaskArguments, CreditGRPOConfig, ModelConfig]:
    """Settings from flags, else from YAML, else (a bundled policy on its task) from its recipe, else TRL's defaults.

    Code is cut into statements unless another segmenter is asked for. On a machine without an accelerator the defaults
    are float32 on the CPU.

    Raises:
        ConfigError: if a key or a value is not what it should be, or is a secret, which the run folder would hold.
    """
    settings = read_yaml(config) if config else {}
    parser = SettingsParser(TaskArguments, CreditGRPOConfig)
    first = FlagParser(add_help=False, allow_abbrev=False)
    first.add_argument("--model_name_or_path", "--model-name-or-path", default=settings.get("model_name_or_path"))
    first.add_argument("--task", default=settings.get("task", "wordproblems"))
    given, _ = first.parse_known_args(flags)
    bundled = bundled_for(given.task)
    if not torch.accelerator.is_available():
        parser.set_defaults_with_config(use_cpu=True, bf16=False)
    if given.task == "code":
        parser.set_defaults_with_config(credit_segmenter="python")
    recipe = RECIPES / f"{given.task}.yaml"
    if given.model_name_or_path in (None, bundled):
        own = yaml.safe_load(recipe.read_text()) if recipe.exists() else {}
        parser.set_defaults_with_config(model_name_or_path=bundled, **own)
    try:
        task, arguments, model = parser.parse_args_and_config(
            args=[*flags, *(["--config", str(config)] if config else [])]
        )
    except (ValueError, TypeError) as error:
        unknown = re.search(r"not used by the HfArgumentParser: \['([^']+)", str(error))
        if unknown and unknown[1].startswith("--"):
            known = [flag for flag in parser._option_string_actions if "_" in flag]
            raise UnknownFlagError("flag", unknown[1].partition("=")[0], known) from error
        if unknown:
            raise ConfigError(f"{unknown[1]!r} is no setting and no value of one; expected --SETTING VALUE.") from error
        raise ConfigError(_of_the_batch(str(error)) or _of_the_best(str(error)) or str(error)) from error
    _check_secrets(arguments)
    return task, arguments, model


def _check_secrets(arguments: CreditGRPOConfig) -> None:
    """Refuse tokens of a hub: flags and YAML are kept as they came, to resume a run with them."""
    for what, given in {
        "hub_token": arguments.hub_token is not None,
        "a token among model_init_kwargs": "token" in (arguments.model_init_kwargs or {}),
    }.items():
        if given:
            raise ConfigError(
                f"{what} is given, which the run folder would keep in clear; expected it in the environment variable "
                "HF_TOKEN, which is read by whatever reaches the hub."
            )


def _of_the_batch(said: str) -> str | None:
    """TRL's sentence about a number that it derived, in flags."""
    found = re.match(r"generation_batch_size \((\d+)\) must be divisible by num_generations \((\d+)\)", said)
    return found and (
        f"a generation batch is {found[1]} completions, and --num_generations {found[2]}; expected whole groups: "
        f"--per_device_train_batch_size, times processes, times --steps_per_generation, a multiple of {found[2]}."
    )


def _of_the_best(said: str) -> str | None:
    """Of a setting that wants evaluations by the trainer, which advice on strategies would not bring."""
    return (
        "load_best_model_at_end is set, and no evaluation says which checkpoint is best; expected it unset: "
        "held_out.jsonl has the accuracies to choose by."
        if said.startswith("--load_best_model_at_end")
        else None
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, every key of which is known.

    Raises:
        ConfigError: if the file is missing, is no mapping, or has an unknown key (the nearest known one is named).
    """
    if not path.is_file():
        raise ConfigError(f"--config is {str(path)!r}, which is no file; expected a YAML file.")
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds a {type(settings).__name__}; expected a mapping of settings.")
    known = {f.name for cls in (TaskArguments, CreditGRPOConfig, ModelConfig) for f in fields(cls)} | {"env"}
    for key in settings.keys() - known:
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigError(f"{path} has the unknown key {key!r}{hint}")
    return settings


def _path(value: Any) -> Path | None:
    return None if value is None else Path(value)


class UnknownFlagError(UnknownNameError):
    """A flag that `spancredit train` does not have."""
