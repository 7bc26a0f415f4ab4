"""What `spancredit train` takes, as flags or YAML: the task, TRL's GRPOConfig and ModelConfig, and `credit_*`."""

import difflib
import itertools
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from trl import ModelConfig, TrlParser

from spancredit.errors import ConfigError
from spancredit.models import BUNDLED
from spancredit.training.config import CreditGRPOConfig

RECIPE = Path(__file__).parents[1] / "recipes" / "wordproblems.yaml"


@dataclass
class TaskArguments:
    """The embedded task and what is kept of the run."""

    task: str = field(default="wordproblems", metadata={"help": "Task to train on.", "choices": ["wordproblems"]})
    difficulty: str = field(
        default="medium", metadata={"help": "Length and noise of the problems: easy, medium, hard, long, noisy."}
    )
    train_problems: int = field(default=4000, metadata={"help": "Problems in the training set."})
    held_out_problems: int = field(default=500, metadata={"help": "Problems for held-out accuracy, decoded greedily."})
    held_out_steps: int = field(
        default=20, metadata={"help": "Steps between held-out evaluations; 0 for before and after only."}
    )
    records_per_step: int = field(
        default=16, metadata={"help": "Rollouts of each generation batch that go into records.jsonl."}
    )
    resume: bool = field(
        default=False,
        metadata={"help": "Continue the run in --output_dir, or the latest one, from its last checkpoint."},
    )


Parsed = tuple[TaskArguments, CreditGRPOConfig, ModelConfig]
CLASSES = (TaskArguments, CreditGRPOConfig, ModelConfig)


def parse(argv: list[str]) -> Parsed:
    """Read flags and YAML (`--config FILE`); flags win. For the bundled policy, its recipe gives the defaults.

    Raises:
        ConfigError: if a key or a value is not what it should be.
    """
    settings = read_yaml(Path(option(argv, "--config") or "")) if "--config" in argv else {}
    parser = TrlParser(CLASSES, prog="spancredit train")
    if "model_name_or_path" not in settings and option(argv, "--model_name_or_path") in (None, BUNDLED):
        parser.set_defaults_with_config(model_name_or_path=BUNDLED, **yaml.safe_load(RECIPE.read_text()))
    try:
        return parser.parse_args_and_config(args=argv)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, every key of which is known.

    Raises:
        ConfigError: if the file is missing, is no mapping, or has an unknown key (the nearest known one is named).
    """
    if not path.is_file():
        raise ConfigError(f"--config is {str(path)!r}; expected a YAML file.")
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds a {type(settings).__name__}; expected a mapping of settings.")
    known = {f.name for cls in CLASSES for f in fields(cls)} | {"env"}
    for key in settings.keys() - known:
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ConfigError(f"{path} has the unknown key {key!r}{hint}")
    return settings


def option(argv: list[str], name: str) -> str | None:
    """The value of `--name value` or `--name=value` on a command line, the last one given."""
    values = [after for flag, after in itertools.pairwise(argv) if flag == name]
    values += [flag.partition("=")[2] for flag in argv if flag.startswith(f"{name}=")]
    return values[-1] if values else None
