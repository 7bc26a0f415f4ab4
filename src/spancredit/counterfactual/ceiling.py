"""Out of memory: scoring begins again with half as many tokens in a forward, until it fits."""

import gc
import warnings
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

from spancredit.counterfactual.lockstep import in_company
from spancredit.errors import ModelError

Found = TypeVar("Found")
LEAST = 256  # tokens: where that is too much, it is single rows that do not fit
FITTED: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # the ceiling that a model was last brought down to


def within_memory(score: Callable[[int], Found], model: Any, most: int) -> tuple[Found, int]:
    """What `score` returns for a ceiling of tokens in a forward, and how often that had to be halved.

    A model keeps the ceiling that fitted. That it was lowered is said once, and counted in `Cost.halved`.

    Args:
        score: Is called with a ceiling of at most `most`.

    Raises:
        ModelError: if so little does not fit either, or other ranks wait for this one's forwards.
    """
    ceiling, halved = min(most, FITTED.get(model, most)), 0
    while True:
        try:
            return score(ceiling), halved
        except torch.OutOfMemoryError as error:
            if ceiling // 2 < LEAST or in_company():
                raise ModelError(_sentence(ceiling, str(error))) from error
        # Here, the error is gone, and with it what its frames held.
        gc.collect()
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        ceiling, halved = ceiling // 2, halved + 1
        if model not in FITTED:
            message = (
                f"spancredit: scoring ran out of memory and goes on with {ceiling} tokens in a forward, half as many; "
                f"max_tokens_per_forward {ceiling} begins there."
            )
            warnings.warn(message, stacklevel=2)
        FITTED[model] = ceiling


def _sentence(ceiling: int, said: str) -> str:
    why = said.splitlines()[0].rstrip(".") if said else "no more is said"
    if in_company():
        return (
            f"scoring ran out of memory with {ceiling} tokens in a forward ({why}), and other ranks wait for this "
            f"one's forwards; expected max_tokens_per_forward {ceiling // 2} or less from the start."
        )
    return (
        f"scoring ran out of memory with {ceiling} tokens in a forward ({why}); expected shorter completions, a "
        "horizon, or more memory: single rows do not fit."
    )
