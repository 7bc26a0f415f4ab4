"""From settings to what a trainer is given: policy, tokenizer, task, problems, rewards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelerate.utils import is_peft_model
from transformers import PreTrainedTokenizerBase
from trl import ModelConfig, get_quantization_config
from trl.rewards import get_soft_overlong_punishment

from spancredit.commands.checked import check_size, most_tokens, peft_config_of
from spancredit.commands.train_arguments import TaskArguments
from spancredit.errors import ConfigError
from spancredit.models import load_policy
from spancredit.tasks.task import Task, load_task
from spancredit.training.trl import CreditGRPOConfig


@dataclass(frozen=True)
class Prepared:
    """What a trainer is given.

    Args:
        rows: The training set.
        rewards: Reward functions in TRL's form.
        functions: The `credit_func` or `probe_func` of the outcome, by name.
        had_pad: Whether the tokenizer has a pad token before TRL gives it one.
    """

    policy: Any
    tokenizer: PreTrainedTokenizerBase
    peft_config: Any
    task: Task
    rows: list[dict[str, Any]]
    rewards: list[Callable[..., list[float]]]
    functions: dict[str, Callable[..., Any]]
    had_pad: bool


def prepare(asked: TaskArguments, arguments: CreditGRPOConfig, model: ModelConfig) -> Prepared:
    """Load all of it.

    Raises:
        ConfigError: if settings do not go together, or there are too few problems for a batch.
        ModelError, DataError, SandboxError: if the model, the task's problems or its sandbox cannot be had.
    """
    peft_config = peft_config_of(model)
    policy, tokenizer = load_policy(str(model.model_name_or_path), trainable=True, **init_arguments(model, arguments))
    if peft_config is not None and is_peft_model(policy):
        raise ConfigError(
            "--use_peft is set, and the model is an adapter, which is trained on as it is; expected no --use_peft."
        )
    task = load_task(asked, arguments.seed, tokenizer)
    rows = task.rows("train")
    check_size("the training set has", len(rows), arguments)
    return Prepared(
        policy,
        tokenizer,
        peft_config,
        task,
        rows,
        rewards((asked.partial_reward and task.shares) or task.reward, asked.overlong_cache, arguments),
        task.functions.get(asked.measured_outcome, {}),
        tokenizer.pad_token_id is not None,
    )


def rewards(
    right: Callable[..., list[float]], overlong_cache: int, arguments: CreditGRPOConfig
) -> list[Callable[..., list[float]]]:
    """Whether the answer is right, and DAPO's soft overlong punishment if it is asked for."""
    overlong = get_soft_overlong_punishment(most_tokens(arguments), overlong_cache)
    return [right, *([overlong] if overlong_cache else [])]


def init_arguments(model: ModelConfig, arguments: CreditGRPOConfig) -> dict[str, object]:
    """How TRL's own script loads a model from its ModelConfig."""
    return {
        "revision": model.model_revision,
        "trust_remote_code": arguments.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype or "auto",
        "quantization_config": get_quantization_config(model),
        **(arguments.model_init_kwargs or {}),
    }
