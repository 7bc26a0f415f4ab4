"""One forward of the policy over rows, in eval mode: the log-probability of their answers."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from spancredit.counterfactual.interventions import Row
from spancredit.errors import ModelError


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """No dropout and no gradient inside; every module's mode as before afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def answer_logps(model: Any, rows: Sequence[Row], temperature: float) -> list[float]:
    """Sum of the answer tokens' log-probabilities, for rows left-padded to the longest: one forward."""
    device = next(model.parameters()).device
    width, keep = max(len(row.input_ids) for row in rows), max(row.answer_size for row in rows) + 1
    ids_BL = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BL = torch.zeros_like(ids_BL)
    positions_BL = torch.zeros_like(ids_BL)
    for b, row in enumerate(rows):
        pads = width - len(row.input_ids)
        ids_BL[b, pads:] = torch.tensor(row.input_ids)
        mask_BL[b, pads:] = 1
        positions_BL[b, pads:] = torch.arange(width - pads)
        if row.hidden is not None:
            mask_BL[b, pads + row.hidden[0] : pads + row.hidden[1]] = 0
    inputs: dict[str, Any] = {"input_ids": ids_BL.to(device)}
    options: dict[str, Any] = {"use_cache": False, "logits_to_keep": keep}
    if not bool(mask_BL.all()):
        if not accepts(model, "attention_mask"):
            raise ModelError(f"hiding a span needs a model that takes attention_mask; {type(model).__name__} does not.")
        if isinstance(model, PreTrainedModel) and not accepts(model, "position_ids"):
            raise ModelError(
                f"hiding a span would move the positions after it: {type(model).__name__} takes no position_ids; "
                "use intervention 'pad', 'delete' or 'filler'."
            )
        options |= {"attention_mask": mask_BL.to(device), "position_ids": positions_BL.to(device)}
    inputs |= {name: value for name, value in options.items() if accepts(model, name)}
    logits_BAV = model(**inputs).logits[:, -keep:-1]
    logps_BA = token_logps(logits_BAV, inputs["input_ids"][:, 1 - keep :], temperature).cpu()
    return [float(logps_A[keep - 1 - row.answer_size :].sum()) for logps_A, row in zip(logps_BA, rows, strict=True)]


def token_logps(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities (nats) of `targets` `(...)` under `logits` `(..., V)`, in float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    return logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)


def accepts(model: Any, name: str) -> bool:
    """Whether the forward of the model, or of the one inside its adapter, takes this keyword."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(inner.forward).parameters
    return name in parameters
