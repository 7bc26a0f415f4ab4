"""The parser of `spancredit train`: TRL's for flags and YAML, with our errors, and with help in sections."""

import argparse
from dataclasses import fields
from typing import Any, NoReturn

from trl import GRPOConfig, ModelConfig, TrlParser

from spancredit.errors import ConfigError

USAGE = """spancredit train [--config FILE.yaml] [--SETTING VALUE ...]
       spancredit train --resume [--output_dir FOLDER]"""
ABOUT = """A setting is read from its flag, else from the YAML file, else (for a bundled
policy on its task) from its recipe; else it has its default.

examples:
  spancredit train                                        the bundled policy on the embedded task
  spancredit train --seed 1 --output_dir runs/one
  spancredit train --config my.yaml --credit_mode uniform --learning_rate 5e-5
  spancredit train --task gsm8k --model_name_or_path ./my-model
  spancredit train --task code                            the bundled code policy; drops by execution
  spancredit train --task code --model_name_or_path ./my-model --outcome probe
  spancredit train --resume --output_dir runs/one         continues an interrupted run
  spancredit train --model_name_or_path ./my-model --use_peft true
"""


class FlagParser(argparse.ArgumentParser):
    """Says what is wrong as an error of ours, in one sentence, instead of printing every flag there is."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}.")


class SettingsParser(TrlParser):
    """Of the task's settings and the trainer's, and of TRL's `ModelConfig`.

    Args:
        asked: The dataclass of the task and of what is kept of the run.
        trainer: That of the trainer, which is TRL's with fields of credit.
    """

    error = FlagParser.error

    def __init__(self, asked: Any, trainer: Any):
        super().__init__(
            (asked, trainer, ModelConfig),
            prog="spancredit train",
            usage=USAGE,
            description=ABOUT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # by whole names it is decided whether the bundled policy's recipe is laid under
        )
        task, credit, model, training = (
            {field.name for field in fields(one)} for one in (asked, trainer, ModelConfig, GRPOConfig)
        )
        self.sections = {
            "the task, and what is kept of the run": task | {"output_dir"},
            "credit": credit - training,
            "the model (trl.ModelConfig)": model,
            "training (trl.GRPOConfig)": training - {"output_dir"},
        }

    def format_help(self) -> str:
        """By section, since TRL's own settings are three hundred."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, [])
        formatter.add_text(self.description)
        for title, names in self.sections.items():
            formatter.start_section(title)
            formatter.add_arguments([action for action in self._actions if action.dest in names])
            formatter.end_section()
        return formatter.format_help()
