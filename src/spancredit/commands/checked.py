"""Settings that `spancredit train` can run with: what is refused before anything is loaded or written."""

from math import ceil
from pathlib import Path

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.utils import is_peft_available
from trl import ModelConfig, get_peft_config

from spancredit.commands.train_arguments import TaskArguments, parse
from spancredit.errors import ConfigError, UnknownNameError
from spancredit.tasks.settings import BY_EXECUTION
from spancredit.training.checked import prompts_per_batch
from spancredit.training.config import CreditGRPOConfig
from spancredit.training.functions import check_credit_func


def parse_checked(config: Path | None, flags: list[str]) -> tuple[TaskArguments, CreditGRPOConfig, ModelConfig]:
    """Settings from a YAML file and flags, refused here if this command could not run with them."""
    task, arguments, model = parse(config, flags)
    _check_numbers(arguments)
    _check_saving(arguments)
    _check_outcome(task.measured_outcome, arguments)
    _check_watching(arguments)
    if task.overlong_cache > most_tokens(arguments):
        most = most_tokens(arguments)
        raise ConfigError(f"overlong_cache is {task.overlong_cache}; expected at most max_completion_length, {most}.")
    if task.train_problems is not None:
        check_size("train_problems is", task.train_problems, arguments)
    if arguments.chat_template_kwargs is not None:
        raise ConfigError(
            "chat_template_kwargs would change what training asks and not what held-out accuracy does; expected a chat "
            "template that is as it should be."
        )
    if task.held_out_sampled and arguments.use_vllm and arguments.generation_kwargs:
        raise ConfigError(
            "generation_kwargs are vLLM's, which samples in training, and held-out problems are sampled without it; "
            "expected no held_out_sampled, or no generation_kwargs."
        )
    if arguments.resume_from_checkpoint is not None:
        raise ConfigError(
            f"resume_from_checkpoint is {arguments.resume_from_checkpoint!r}; expected --resume, which continues a run "
            "from its last checkpoint with its own settings."
        )
    peft_config_of(model)
    return task, arguments, model


def _check_numbers(arguments: CreditGRPOConfig) -> None:
    """Refuse what TRL takes, and then trains a step with or fails on in the middle."""
    if arguments.max_steps == 0:
        raise ConfigError("max_steps is 0; expected at least 1, or -1 for num_train_epochs.")
    for name, least in {"learning_rate": 0.0, "max_completion_length": 1}.items():
        value = getattr(arguments, name)
        if value is not None and not value >= least:
            raise ConfigError(f"{name} is {value}; expected at least {least}.")


def _check_saving(arguments: CreditGRPOConfig) -> None:
    """Refuse checkpoints that a run could not continue from. Micro-batches are counted on each process alike."""
    if arguments.save_strategy != "steps":
        return
    if arguments.save_steps < 1 and arguments.max_steps < 1:
        raise ConfigError(
            f"save_steps is {arguments.save_steps}, a share of max_steps, which is not set; expected both."
        )
    uses = arguments.steps_per_generation * arguments.num_iterations  # of one generation batch, in micro-batches
    steps = arguments.save_steps if arguments.save_steps >= 1 else ceil(arguments.save_steps * arguments.max_steps)
    if steps * arguments.gradient_accumulation_steps % uses:
        raise ConfigError(
            f"save_steps is {arguments.save_steps}, in the middle of the {uses} uses of a generation batch, which a "
            f"resumed run would lose; expected save_steps x gradient_accumulation_steps to be a multiple of {uses}."
        )


def _check_outcome(outcome: str, arguments: CreditGRPOConfig) -> None:
    """Refuse settings that credit by execution does not read, and groups that it would not see whole."""
    if outcome not in BY_EXECUTION or arguments.credit.mode == "uniform":
        return
    check_credit_func(arguments.credit)
    own = arguments.per_device_train_batch_size * arguments.steps_per_generation
    if outcome == "exchange" and own % arguments.num_generations:
        raise ConfigError(
            f"each process generates {own} completions at a time, and num_generations is {arguments.num_generations}; "
            "outcome 'exchange' expects a multiple, since it exchanges within a group and a process."
        )


def _check_watching(arguments: CreditGRPOConfig) -> None:
    """Refuse evaluations by the trainer, which has nothing to evaluate on, and trackers that it does not know."""
    strategy = arguments.eval_strategy.value
    for setting, holds in {
        f"eval_strategy is {strategy!r}": strategy != "no",
        "eval_on_start is set": arguments.eval_on_start,
    }.items():
        if holds:
            raise ConfigError(
                f"{setting}, and there is no evaluation dataset; expected none of it: accuracy is measured every "
                "held_out_steps steps."
            )
    if arguments.save_strategy.value == "best":
        raise ConfigError(
            "save_strategy is 'best', and no evaluation says which checkpoint that is; expected 'steps', 'epoch' or "
            "'no': held_out.jsonl has the accuracies to choose by."
        )
    for name in arguments.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UnknownNameError("report_to", name, ["none", "all", *sorted(INTEGRATION_TO_CALLBACK)])


def check_size(what: str, problems: int, arguments: CreditGRPOConfig) -> None:
    """Refuse a training set of less than a generation batch."""
    least = prompts_per_batch(arguments)
    if problems < least:
        raise ConfigError(f"{what} {problems}; expected at least {least} problems, one generation batch.")


def most_tokens(arguments: CreditGRPOConfig) -> int:
    """Of a completion."""
    return int(arguments.max_completion_length or 512)


def peft_config_of(model: ModelConfig) -> object:
    """That of the adapter that is asked for, or None."""
    if model.use_peft and not is_peft_available():
        raise ConfigError("--use_peft needs the package peft, which is not installed: pip install 'spancredit[peft]'.")
    return get_peft_config(model)
