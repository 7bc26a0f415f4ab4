"""Forwards of the policy over rows, in eval mode: the log-probability of what the rows have scored."""

import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import DynamicCache, PreTrainedModel

from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.lockstep import Kind, keep_step
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


def share_forwards(model: Any, rows: Sequence[Row], max_tokens: int, alike: bool = False) -> Iterator[list[int]]:
    """Indices of the rows that share a forward: of similar length, at most `max_tokens` with the padding.

    Of equal length, if asked for `alike` or if padding would not be exact: a model that takes no mask or no positions,
    that carries a state from token to token, or whose rotary embedding depends on the longest row.
    """
    alike = alike or carries_state(model) or not all(accepts(model, n) for n in ("attention_mask", "position_ids"))
    alike = alike or any(outgrows_rope(model, row) for row in rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids), reverse=True)
    for _, same in groupby(order, key=lambda i: len(rows[i].input_ids) if alike else None):
        indices = list(same)
        while indices:
            size = max(1, max_tokens // len(rows[indices[0]].input_ids))
            yield indices[:size]
            del indices[:size]


def row_logps(model: Any, rows: Sequence[Row], temperature: float) -> list[tuple[float, ...]]:
    """For each row the log-probability (nats) of each range it has scored: one forward, left-padded to the longest."""
    width = max(len(row.input_ids) for row in rows)
    keep = max(len(row.input_ids) - row.scored[0][0] for row in rows) + 1
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
    options: dict[str, Any] = {"use_cache": False, "logits_to_keep": keep}
    if not bool(mask_BL.all()):
        _check_masks(model)
        options |= {"attention_mask": mask_BL, "position_ids": positions_BL}
    logits_BNV = _logits(model, ids_BL, options)[:, -keep:-1]
    targets_BN = ids_BL[:, 1 - keep :].to(logits_BNV.device)
    logps_BN = token_logps(logits_BNV, targets_BN, temperature).double().cpu()
    found = []
    for row, logps_N in zip(rows, logps_BN, strict=True):
        shift = keep - 1 - len(row.input_ids)
        found.append(tuple(float(logps_N[shift + first : shift + last].sum()) for first, last in row.scored))
    return found


def resumed_logps(model: Any, row: Row, temperature: float) -> tuple[float, ...]:
    """The same for one row whose intervention has a horizon: the original's keys and values beyond it are kept.

    Three forwards, each over contiguous positions: the original up to the answer, the part that the intervention
    changes, and the answer, which reads both.

    Raises:
        ModelError: if the model passes on more than keys and values, or its adapter learns a prompt.
    """
    assert row.original is not None
    assert row.resume is not None
    if learns_prompt(model):
        raise ModelError(
            "a horizon keeps keys and values, and an adapter that learns a prompt puts its own among them; expected "
            "horizon None, or another adapter."
        )
    if carries_state(model) or not accepts(model, "past_key_values"):
        raise ModelError(
            f"a horizon keeps keys and values, which {type(model).__name__} does not have for every layer; "
            "expected horizon None."
        )
    answer, start = row.answer_start - 1, row.start
    mask_1L = torch.ones(1, len(row.input_ids), dtype=torch.long)
    if row.hidden is not None:
        mask_1L[0, row.hidden[0] : row.hidden[1]] = 0
    whole = DynamicCache()
    _logits(model, _ids(row.original[:answer]), {"past_key_values": whole, "use_cache": True, "logits_to_keep": 1})
    kept = [(layer.keys, layer.values) for layer in whole.layers]
    changed = DynamicCache([(k[:, :, :start], v[:, :, :start]) for k, v in kept])
    _continue(model, row, start, row.resume, mask_1L, changed, 1)
    middle = [(layer.keys, layer.values) for layer in changed.layers]
    joined = [
        tuple(torch.cat([new, old[:, :, row.resume :]], dim=2) for new, old in zip(pair, whole_pair, strict=True))
        for pair, whole_pair in zip(middle, kept, strict=True)
    ]
    size = len(row.input_ids) - answer
    logits_1AV = _continue(model, row, answer, len(row.input_ids), mask_1L, DynamicCache(joined), size)[:, -size:-1]
    targets_1A = _ids(row.input_ids[row.answer_start :]).to(logits_1AV.device)
    return (float(token_logps(logits_1AV, targets_1A, temperature).double().sum()),)


def token_logps(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities (nats) of `targets` `(...)` under `logits` `(..., V)`, in float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    return logits.gather(-1, targets[..., None]).squeeze(-1) - logits.logsumexp(-1)


def accepts(model: Any, name: str) -> bool:
    """Whether the forward of the model, or of the one inside its adapter, takes this keyword."""
    return name in _keywords(model)


def inner(model: Any) -> Any:
    """The causal language model itself, without an adapter around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def carries_state(model: Any) -> bool:
    """Whether the model passes on more than keys and values from token to token: a recurrent or convolution state."""
    types = layer_types(model)
    return getattr(inner(model), "_is_stateful", False) or any(
        not name.endswith("attention") or name.startswith("linear") for name in types
    )


def learns_prompt(model: Any) -> bool:
    """Whether an adapter puts tokens of its own before each row, which are in its states and its cache."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def layer_types(model: Any) -> set[str]:
    """The types of layer that the model's config names; none if it names none."""
    config: Any = getattr(inner(model), "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return set(getattr(text, "layer_types", None) or ())


def outgrows_rope(model: Any, row: Row) -> bool:
    """Whether the row's rotary embedding would depend on the longest row that it shares a forward with."""
    config: Any = getattr(inner(model), "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in ("dynamic", "longrope"):
        return False
    trained = rope.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    return max(len(row.input_ids), len(row.original or ())) > (trained or text.max_position_embeddings)


def device_of(model: Any) -> torch.device:
    """Where the model computes: shards may wait on the CPU for their use elsewhere."""
    parameter = next(model.parameters())
    accelerator = torch.accelerator.current_accelerator()
    in_parts = isinstance(parameter, DTensor) or hasattr(parameter, "ds_id")
    if accelerator is None or not in_parts:
        return parameter.device
    return torch.device(accelerator.type, torch.accelerator.current_device_index())


def _logits(model: Any, ids_BL: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    device = device_of(model)
    known = _keywords(model)
    taken = {name: value for name, value in options.items() if name in known}
    moved = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in taken.items()}
    keep_step(Kind.FORWARD)
    logits: torch.Tensor = model(input_ids=ids_BL.to(device), **moved).logits
    return logits


def _continue(
    model: Any, row: Row, start: int, end: int, mask_1L: torch.Tensor, cache: DynamicCache, keep: int
) -> torch.Tensor:
    """Logits of the last `keep` of the row's tokens from `start` to `end`, after what the cache holds."""
    options = {
        "past_key_values": cache,
        "use_cache": True,
        "logits_to_keep": keep,
        "attention_mask": mask_1L[:, :end],
        "position_ids": torch.arange(start, end)[None],
    }
    return _logits(model, _ids(row.input_ids[start:end]), options)


def _keywords(model: Any) -> Collection[str]:
    return inspect.signature(inner(model).forward).parameters


def _ids(ids: Sequence[int]) -> torch.Tensor:
    return torch.tensor([list(ids)])


def _check_masks(model: Any) -> None:
    if carries_state(model):
        raise ModelError(
            f"{type(model).__name__} carries a state from token to token, so that no span can be hidden from it; "
            "use intervention 'pad', 'delete' or 'filler'."
        )
    if not accepts(model, "attention_mask"):
        raise ModelError(f"hiding a span needs a model that takes attention_mask; {type(model).__name__} does not.")
    if isinstance(model, PreTrainedModel) and not accepts(model, "position_ids"):
        raise ModelError(
            f"hiding a span would move the positions after it: {type(model).__name__} takes no position_ids; "
            "use intervention 'pad', 'delete' or 'filler'."
        )
