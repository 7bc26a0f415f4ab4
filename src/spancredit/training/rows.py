"""A generation batch of TRL's trainer as rows without padding, and rows as a batch again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

Row = dict[str, torch.Tensor]
PROMPT, COMPLETION = ("prompt_ids", "prompt_mask"), "completion_ids"
SCALAR = "num_items_in_batch"
REFERENCE, UNLIKELY = "ref_per_token_logps", -1e4  # a KL term is exp(reference - policy) and masked after: no overflow


def split_rows(batch: dict[str, Any]) -> list[Row]:
    """Rows on the CPU: prompts `(P,)`, what has one entry a completion token `(T,)`, and the rest as it is."""
    ids_BT, mask_BT = batch[COMPLETION], batch["completion_mask"]
    prompts_B, width = batch["prompt_mask"].sum(1).tolist(), ids_BT.shape[1]
    sizes_B = mask_BT.sum(1).tolist()
    rows = []
    for b, (prompt, size) in enumerate(zip(prompts_B, sizes_B, strict=True)):
        row = {}
        for name, values in batch.items():
            if name == SCALAR:
                continue
            value = values[b].detach().cpu()
            if name in PROMPT:
                value = value[len(value) - prompt :]
            elif values.dim() == 2 and values.shape[1] == width:
                value = value[: size or width]  # one that was truncated is masked whole
            row[name] = value.clone()
        rows.append(row)
    return rows


def join_rows(rows: Sequence[Row], pad_id: int, multiple: int | None, device: torch.device) -> dict[str, Any]:
    """The rows padded as TRL pads them: prompts on the left, completions on the right."""
    batch: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        aligned = all(row[name].shape == row[COMPLETION].shape for row in rows)
        if name in PROMPT or aligned:
            filler = pad_id if name in ("prompt_ids", COMPLETION) else UNLIKELY if name == REFERENCE else 0
            batch[name] = _pad(values, filler, "left" if name in PROMPT else "right", multiple).to(device)
        else:
            batch[name] = torch.stack(values).to(device)
    return batch


def loss_tokens(row: Row) -> int:
    """Tokens of the completion that the loss reads."""
    return int((row["completion_mask"] * row.get("tool_mask", 1)).bool().sum())


def _pad(values: Sequence[torch.Tensor], filler: float, side: str, multiple: int | None) -> torch.Tensor:
    padded_BL = pad_sequence(list(values), batch_first=True, padding_value=filler, padding_side=side)
    extra = -padded_BL.shape[1] % (multiple or 1)
    return torch.nn.functional.pad(padded_BL, (extra, 0) if side == "left" else (0, extra), value=filler)
