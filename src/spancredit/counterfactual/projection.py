"""The family's own output head (soft-capping, scaling) on the positions that are asked for alone, in chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from spancredit.counterfactual.forward import inner

LOGITS = 2**26  # most logits at once: 256 MB of float32


def trunk_of(model: Any) -> Any:
    """The part of the model below its output head, or None if it has no such part."""
    whole = inner(model)
    trunk = getattr(whole, getattr(whole, "base_model_prefix", "") or "-", None)
    return None if trunk is whole else trunk


def selected_logits(model: Any, inputs: dict[str, Any], rows_N: torch.Tensor, places_N: torch.Tensor) -> Iterator[Any]:
    """Logits `(n, V)` in chunks of the `N` positions, each a row of the batch and a place in it: one forward.

    The trunk runs once; a hook narrows what it hands to the head to the positions of the first chunk, and for the
    others the head is called on what the trunk gave.
    """
    size = max(1, LOGITS // inner(model).config.get_text_config().vocab_size)
    kept: list[torch.Tensor] = []

    def narrow(module: Any, args: Any, output: Any) -> Any:
        hidden_NH = output.last_hidden_state[rows_N, places_N]
        kept.append(hidden_NH)
        output.last_hidden_state = hidden_NH[None, :size]
        return output

    trunk = trunk_of(model)
    hook = trunk.register_forward_hook(narrow)
    try:
        output = model(**inputs)
    finally:
        hook.remove()
    yield output.logits[0]
    for start in range(size, len(rows_N), size):
        with _answering(trunk, kept[0][None, start : start + size], output):
            logits = model(input_ids=inputs["input_ids"][:1, :1], use_cache=False).logits[0]
        yield logits


@contextmanager
def _answering(trunk: Any, hidden: torch.Tensor, like: Any) -> Iterator[None]:
    """The trunk as a function that gives this hidden state, whatever it is asked."""
    from transformers.modeling_outputs import MoeModelOutputWithPast

    given = MoeModelOutputWithPast(last_hidden_state=hidden)
    trunk.forward = lambda *_, **__: given
    try:
        yield
    finally:
        del trunk.forward
