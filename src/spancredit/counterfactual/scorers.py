"""Scorers: rows -> log-probability of their answers. `sequential` is the definition; every other one must equal it."""

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Literal, Protocol

import torch

from spancredit.counterfactual.interventions import Row
from spancredit.errors import ModelError
from spancredit.types import Cost

ScorerName = Literal["sequential", "batched"]
Scores = list[tuple[float, Cost]]  # for each row: log-probability of the answer in nats, and what it took


class Scorer(Protocol):
    def __call__(self, model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores: ...


def sequential(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """The definition: one forward for each row, batch 1, no padding."""
    return [(_answer_logps(model, [row], temperature)[0], Cost(len(row.input_ids), 1)) for row in rows]


def batched(model: Any, rows: Sequence[Row], temperature: float, max_tokens: int) -> Scores:
    """Rows of similar length in one forward, left-padded and masked, at most `max_tokens` with the padding.

    A model that takes no `position_ids` cannot be padded exactly; its rows share a forward where they are as long.
    A forward is counted at the first of its rows.
    """
    exact_length = not _accepts(model, "position_ids")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids), reverse=True)
    scores: list[tuple[float, Cost]] = [(0.0, Cost())] * len(rows)
    for _, same in groupby(order, key=lambda i: len(rows[i].input_ids) if exact_length else None):
        indices = list(same)
        while indices:
            width = len(rows[indices[0]].input_ids)
            batch, indices = indices[: max(1, max_tokens // width)], indices[max(1, max_tokens // width) :]
            logps = _answer_logps(model, [rows[i] for i in batch], temperature)
            for nth, (i, logp) in enumerate(zip(batch, logps, strict=True)):
                scores[i] = logp, Cost(width, int(nth == 0))
    return scores


SCORERS: dict[str, Scorer] = {"sequential": sequential, "batched": batched}


def self_check(model: Any, row: Row, scorer: Scorer, temperature: float, max_tokens: int) -> None:
    """Compare a scorer with the definition on one row and on a copy without the first half of its context.

    Both share a forward whatever `max_tokens` is, so that padding is put to the test. A row that the definition gives
    no finite number is not compared.

    Raises:
        ModelError: if they differ by more than rounding in the dtype of the computation can.
    """
    width = len(row.input_ids)
    rows = [row, Row(row.input_ids[(width - row.answer_size) // 2 :], row.answer_size)]
    with eval_mode(model):
        scores = scorer(model, rows, temperature, max(max_tokens, 2 * width))
        definition = sequential(model, rows, temperature, max_tokens)
    dtype = _compute_dtype(model)
    for (got, _), (expected, _) in zip(scores, definition, strict=True):
        tolerance = {torch.float64: 1e-8, torch.float32: 1e-3}.get(dtype, 0.05 * max(1.0, abs(expected)))
        if math.isfinite(expected) and not abs(got - expected) <= tolerance:
            raise ModelError(
                f"self-check failed: this scorer gives the answer {got:.6f} nats, the sequential scorer "
                f"{expected:.6f}, expected at most {tolerance:g} apart in {dtype}; {type(model).__name__} cannot be "
                "batched exactly, use scorer='sequential'."
            )


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


def _answer_logps(model: Any, rows: Sequence[Row], temperature: float) -> list[float]:
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
        if not _accepts(model, "attention_mask"):
            raise ModelError(f"hiding a span needs a model that takes attention_mask; {type(model).__name__} does not.")
        options |= {"attention_mask": mask_BL.to(device), "position_ids": positions_BL.to(device)}
    inputs |= {name: value for name, value in options.items() if _accepts(model, name)}
    logits_BAV = model(**inputs).logits[:, -keep:-1]
    logits_BAV = logits_BAV.to(torch.promote_types(logits_BAV.dtype, torch.float32)) / temperature
    logps_BA = logits_BAV.log_softmax(-1).gather(-1, inputs["input_ids"][:, 1 - keep :, None]).squeeze(-1)
    return [
        float(logps_A[keep - 1 - row.answer_size :].sum()) for logps_A, row in zip(logps_BA.cpu(), rows, strict=True)
    ]


def _accepts(model: Any, name: str) -> bool:
    """Whether the forward of the model, or of the one inside its adapter, takes this keyword."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = inspect.signature(inner.forward).parameters
    return name in parameters


def _compute_dtype(model: Any) -> torch.dtype:
    """The dtype of the matrix products: autocast's where it is on, else that of the weights."""
    parameter = next(model.parameters())
    device = parameter.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parameter.dtype
