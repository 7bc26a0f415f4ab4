"""The family's own output head (soft-capping, scaling) on the positions that are asked for alone, in chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch

from spancredit.counterfactual.forward import inner
from spancredit.errors import ModelError

LOGITS = 2**26  # most logits at once: 256 MB of float32


def trunk_of(model: Any) -> Any:
    """The part of the model below its output head, or None if it has no such part."""
    whole = inner(model)
    decoder = whole.get_decoder() if hasattr(whole, "get_decoder") else None
    trunk = getattr(whole, getattr(whole, "base_model_prefix", "") or "-", None) if decoder is None else decoder
    return None if trunk is whole else trunk


def selected_logits(model: Any, inputs: dict[str, Any], rows_N: torch.Tensor, places_N: torch.Tensor) -> Iterator[Any]:
    """Logits `(n, V)` in chunks of the `N` positions, each a row of the batch and a place in it: one forward.

    The trunk runs once; a hook narrows what it hands to the head to the positions of the first chunk, and for the
    others the head is called on what the trunk gave.

    Raises:
        ModelError: if the model does not call its trunk.
    """
    size = max(1, LOGITS // inner(model).config.get_text_config().vocab_size)
    given: list[Any] = []

    def narrow(module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[rows_N, places_N][None]
        given.append(output)
        return _part(output, 0, size)

    trunk = trunk_of(model)
    hook = trunk.register_forward_hook(narrow)
    try:
        logits = model(**inputs).logits
    finally:
        hook.remove()
    if not given:
        raise ModelError(
            f"the output head of {type(inner(model)).__name__} does not read what {type(trunk).__name__} gives; "
            "expected it to; use scorer='batched'."
        )
    yield logits[0]
    for start in range(size, len(rows_N), size):
        with _answering(trunk, _part(given[0], start, size)):
            logits = model(input_ids=inputs["input_ids"][:1, :1], use_cache=False).logits
        yield logits[0]


def _part(output: Any, start: int, size: int) -> Any:
    narrowed = copy(output)
    narrowed.last_hidden_state = output.last_hidden_state[:, start : start + size]
    return narrowed


@contextmanager
def _answering(trunk: Any, output: Any) -> Iterator[None]:
    """The trunk gives this output, whatever it is asked."""
    own = vars(trunk).get("forward")
    trunk.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if own is None:
            del trunk.forward
        else:
            trunk.forward = own
