"""Weights that are not finite end a run before a checkpoint could hold them."""

from collections.abc import Iterable
from math import inf
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from spancredit.errors import TrainerError


class FiniteWeights(TrainerCallback):
    """Looks at all weights before the first step, and at those that are trained after every one: one read of each.

    Of sharded weights each rank looks at its own part; what ZeRO-3 keeps elsewhere is not looked at.

    Raises:
        TrainerError: from its methods, at the first weight that is NaN or infinite.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        name = first_not_finite(model.named_parameters())
        if name is not None:
            raise TrainerError(
                f"the policy's weight {name} is NaN or infinite before the first step; expected numbers."
            )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        name = first_not_finite((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
        if name is not None:
            raise TrainerError(
                f"the policy's weight {name} is NaN or infinite after step {state.global_step}, and the run ends; what "
                "was written before is kept. Expected a learning rate, a dtype or rewards that keep weights finite."
            )


def first_not_finite(weights: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """The name of the first of these that holds a NaN or an infinity."""
    named = [(name, _local(weight)) for name, weight in weights]
    floating = [(name, weight) for name, weight in named if weight.is_floating_point() and weight.numel()]
    if not floating:
        return None
    largest = torch.stack([torch.linalg.vector_norm(weight, inf).float().to("cpu") for _, weight in floating])
    wrong = (~largest.isfinite()).nonzero()
    return floating[int(wrong[0])][0] if len(wrong) else None


def _local(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight
