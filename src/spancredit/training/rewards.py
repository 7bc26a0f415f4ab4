"""Rewards that no one can train with are refused: which function, on which completion, and what was expected."""

from collections.abc import Sequence
from functools import partial, wraps
from typing import Any

import torch
from trl.trainer.utils import is_async_callable

from spancredit.errors import TrainerError
from spancredit.training.failures import SHORT, named

EXPECTED = "expected a finite number for each completion, or None where the function does not apply"


def checked(function: Any, name: str) -> Any:
    """The reward function, whose failures are a TrainerError, but for errors of ours. A reward model stays as it is."""
    if isinstance(function, torch.nn.Module):
        return function

    @wraps(function)
    def rewards(**given: Any) -> list[Any]:
        with named(partial(_failure, name, given)):
            returned = list(function(**given))
        return _one_number_each(returned, name, given)

    @wraps(function)
    async def awaited(**given: Any) -> list[Any]:
        with named(partial(_failure, name, given)):
            returned = list(await function(**given))
        return _one_number_each(returned, name, given)

    return awaited if is_async_callable(function) else rewards


def check_finite(rewards_BF: torch.Tensor, names: Sequence[str], prompts: Sequence[Any], step: int) -> None:
    """Refuse infinite rewards: they leave a group no baseline. NaN is TRL's mark of a function that does not apply.

    Args:
        rewards_BF: One row a completion, one column a reward function, of all ranks.
        names, prompts: Of the functions; of the completions.
    """
    for b, f in rewards_BF.isinf().nonzero().tolist():
        raise _unusable(names[f], rewards_BF[b, f].item(), b, prompts[b], step)


def _failure(name: str, given: dict[str, Any], raised: str) -> str:
    prompts, step = given["prompts"], given["trainer_state"].global_step + 1
    return (
        f"reward function {name!r} raised {raised} at step {step}, on {len(prompts)} completions, the first of them of "
        f"the prompt {SHORT.repr(prompts[0])}; {EXPECTED}."
    )


def _one_number_each(returned: list[Any], name: str, given: dict[str, Any]) -> list[Any]:
    prompts, step = given["prompts"], given["trainer_state"].global_step + 1
    if len(returned) != len(prompts):
        raise TrainerError(
            f"reward function {name!r} returned {len(returned)} rewards for {len(prompts)} completions at step {step}; "
            f"{EXPECTED}."
        )
    for i, reward in enumerate(returned):
        if not (reward is None or _is_number(reward)):
            raise _unusable(name, reward, i, prompts[i], step)
    return returned


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False
    return not isinstance(value, str)


def _unusable(name: str, reward: Any, index: int, prompt: Any, step: int) -> TrainerError:
    return TrainerError(
        f"reward function {name!r} returned {SHORT.repr(reward)} for completion {index} of step {step}, of the prompt "
        f"{SHORT.repr(prompt)}; {EXPECTED}."
    )
