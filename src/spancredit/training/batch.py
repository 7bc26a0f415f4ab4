"""TRL's padded generation batch as rollouts, and values of tokens as a batch again."""

from dataclasses import dataclass
from typing import Any

import torch

from spancredit.types import Credit, Rollout


@dataclass(frozen=True)
class CreditBatch:
    """One generation batch, all ranks together, as an `on_credit` observer sees it (on the main process).

    Args:
        rewards: Weighted sums over the reward functions; NaN where none applied.
        first_rewards: Of the first reward function alone.
    """

    step: int
    rollouts: list[Rollout]
    rewards: list[float]
    credits: list[Credit]
    first_rewards: list[float]


def rollouts_of(output: dict[str, Any]) -> list[Rollout]:
    """TRL's padded batch as unpadded rollouts. A row whose mask is all zero (truncated, masked) is kept whole."""
    rollouts = []
    for b, advantage in enumerate(output["advantages"].tolist()):
        mask_T = output["completion_mask"][b].bool()
        ids_T = output["completion_ids"][b]
        loss_T = mask_T if "tool_mask" not in output else mask_T & output["tool_mask"][b].bool()
        kept_T = mask_T if mask_T.any() else torch.ones_like(mask_T)
        rollouts.append(
            Rollout(
                prompt_ids=output["prompt_ids"][b][output["prompt_mask"][b].bool()].tolist(),
                completion_ids=ids_T[kept_T].tolist(),
                advantage=advantage,
                loss_mask=None if bool(loss_T[kept_T].all()) else loss_T[kept_T].int().tolist(),
            )
        )
    return rollouts


def padded(rows: list[torch.Tensor], output: dict[str, Any]) -> torch.Tensor:
    """Values of tokens as `(B, T)`, right-padded with 1 like the completions, on their device."""
    values_BT = torch.ones(output["completion_ids"].shape)
    for b, row_T in enumerate(rows):
        values_BT[b, : len(row_T)] = row_T
    return values_BT.to(output["advantages"])
