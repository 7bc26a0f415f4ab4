"""What can be packed: which models, which of their rows, and with which attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from spancredit.counterfactual.forward import (
    accepts,
    carries_state,
    device_of,
    inner,
    layer_types,
    learns_prompt,
    outgrows_rope,
)
from spancredit.counterfactual.interventions import Row
from spancredit.counterfactual.projection import trunk_of

PACKABLE = ("sdpa", "eager", "flex_attention")


def why_not(model: Any) -> str | None:
    """Why rows of this model cannot be packed, or None. Unknown families are left to the self-check."""
    if getattr(model, "config", None) is None or not hasattr(model.config, "get_text_config"):
        return "it is no transformers model"
    attention, text = model.config._attn_implementation, model.config.get_text_config()
    odd = layer_types(model) - {"full_attention", "sliding_attention"}
    reasons = {
        f"it has layers of type {', '.join(sorted(odd))}": odd,
        "it carries a recurrent state": carries_state(model),
        "its layers build their own masks": hasattr(text, "attention_layers"),
        "its adapter learns a prompt": learns_prompt(model),
        "it is spread over several devices": len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1,
        "it adds position to attention by ALiBi": getattr(text, "alibi", False),
        "it takes no position_ids": not accepts(model, "position_ids"),
        "it takes no past_key_values": not accepts(model, "past_key_values"),
        f"its attention implementation is {attention!r}, not one of {', '.join(PACKABLE)}": (
            attention not in PACKABLE and not takes_flex(model)
        ),
        "its output head cannot be told from the layers below it": trunk_of(model) is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def outruns(model: Any, row: Row) -> bool:
    """Whether this row is beyond what packing keeps exact.

    A row that hides as much as a sliding window reaches can leave a token with nothing to see; past the length that
    a model was first trained at, some rotary embeddings depend on the longest row of a forward.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    hides_window = bool(window and row.hidden and row.hidden[1] - row.hidden[0] >= window)
    return hides_window or outgrows_rope(model, row)


def takes_flex(model: Any) -> bool:
    """Whether FlexAttention can run this model: on CUDA, in single precision or less, with heads of 16 and up."""
    parameter, text = next(model.parameters()), model.config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    supports = getattr(inner(model), "_supports_flex_attn", False)
    return device_of(model).type == "cuda" and supports and parameter.dtype != torch.float64 and head >= 16


@contextmanager
def fastest_attention(model: Any) -> Iterator[None]:
    """On CUDA FlexAttention, whose masks are never square; elsewhere the model's own."""
    before = model.config._attn_implementation
    if takes_flex(model):
        model.config._attn_implementation = "flex_attention"
    try:
        yield
    finally:
        model.config._attn_implementation = before
