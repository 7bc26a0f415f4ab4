"""TRL's padded generation batch as rollouts, values of tokens as a batch again, and what all ranks have on one."""

from typing import Any

import torch
import torch.distributed as dist

from spancredit.types import Rollout


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


def on_main(mine: list[Any], group: dist.ProcessGroup | None) -> list[Any]:
    """What all ranks have, in the order of ranks, on the first of them; nothing on the others, who need no copy."""
    if group is None:
        return mine
    first = dist.get_rank(group) == 0
    parts: list[list[Any]] = [[]] * dist.get_world_size(group)
    dist.gather_object(mine, parts if first else None, group=group, group_dst=0)
    return [one for part in parts for one in part]
