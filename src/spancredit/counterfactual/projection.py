"""The family's own output head (soft-capping, scaling) on the positions that are asked for alone, in chunks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch

from spancredit.counterfactual.forward import accepts, device_of, inner
from spancredit.counterfactual.lockstep import Kind, keep_step
from spancredit.errors import ModelError

LOGITS = 2**26  # most logits at once: 256 MB of float32


def trunk_of(model: Any) -> Any:
    """The part of the model below its output head, or None if it has no such part."""
    whole = inner(model)
    decoder = whole.get_decoder() if hasattr(whole, "get_decoder") else None
    trunk = getattr(whole, getattr(whole, "base_model_prefix", "") or "-", None) if decoder is None else decoder
    return None if trunk is whole else trunk


@contextmanager
def computing_dtype(model: Any) -> Iterator[set[torch.dtype]]:
    """A set that fills with the dtypes of what the trunk gives: shards may compute in a lower one than is kept."""
    dtypes: set[torch.dtype] = set()
    trunk = trunk_of(model)
    if trunk is None:
        yield dtypes
        return
    hook = trunk.register_forward_hook(lambda *given: dtypes.add(given[-1].last_hidden_state.dtype))
    try:
        yield dtypes
    finally:
        hook.remove()


def selected_logits(model: Any, inputs: dict[str, Any], rows_N: torch.Tensor, places_N: torch.Tensor) -> Iterator[Any]:
    """Logits `(n, V)` in chunks of the `N` positions, each a row of the batch and a place in it: one forward."""
    yield from logits_of(model, [trunk_states(model, inputs, rows_N, places_N)])


def trunk_states(model: Any, inputs: dict[str, Any], rows_N: torch.Tensor, places_N: torch.Tensor) -> Any:
    """One forward that stops below the output head: what the trunk gives, at the `N` positions alone.

    The model itself is called, as its wrappers expect, but a hook leaves no position for the head.

    Raises:
        ModelError: if the model does not call its trunk.
    """
    given: list[Any] = []

    def narrow(module: Any, args: Any, output: Any) -> Any:
        given.append(bare(output, output.last_hidden_state[rows_N, places_N][None]))
        return _with_states(output, output.last_hidden_state[:1, :0])

    trunk = trunk_of(model)
    keep_step(Kind.FORWARD)
    hook = trunk.register_forward_hook(narrow)
    try:
        model(**inputs)
    finally:
        hook.remove()
    if not given:
        raise ModelError(
            f"the output head of {type(inner(model)).__name__} does not read what {type(trunk).__name__} gives; "
            "expected it to; use scorer='batched'."
        )
    return given[0]


def chunk_size(model: Any) -> int:
    """Positions whose logits are made at once."""
    return max(1, LOGITS // int(inner(model).config.get_text_config().vocab_size))


def logits_of(model: Any, states: Sequence[Any]) -> Iterator[Any]:
    """Logits `(n, V)` in chunks of the positions in `states`, one after the other."""
    options = {"use_cache": False} if accepts(model, "use_cache") else {}
    no_token_10 = torch.zeros(1, 0, dtype=torch.long, device=device_of(model))
    states_1ND = torch.cat([output.last_hidden_state for output in states], dim=1)
    for chunk_1nD in states_1ND.split(chunk_size(model), dim=1):
        keep_step(Kind.HEAD)
        with answering(trunk_of(model), bare(states[0], chunk_1nD)):
            logits_1nV = model(input_ids=no_token_10, **options).logits
        yield logits_1nV[0]


def bare(output: Any, states_BND: torch.Tensor) -> Any:
    """An output of the same class with nothing but states: no caches that would outlive their forward."""
    return type(output)(last_hidden_state=states_BND)


def _with_states(output: Any, states_BND: torch.Tensor) -> Any:
    changed = copy(output)
    changed.last_hidden_state = states_BND
    return changed


@contextmanager
def answering(trunk: Any, output: Any) -> Iterator[None]:
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
