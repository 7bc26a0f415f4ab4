"""A policy whose weights are sharded over ranks: how to tell, and forwards that keep other ranks company."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers.modeling_outputs import BaseModelOutputWithPast

from spancredit.counterfactual.forward import accepts, device_of, inner
from spancredit.counterfactual.lockstep import Kind, Lockstep, stepping
from spancredit.counterfactual.projection import answering, trunk_of
from spancredit.errors import ModelError


def is_sharded(model: Any) -> bool:
    """Whether this rank holds only a part of some weights: FSDP2, tensor parallelism, or DeepSpeed's ZeRO-3."""
    return any(isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters())


@contextmanager
def in_step(model: Any, group: dist.ProcessGroup | None) -> Iterator[None]:
    """Inside, a sharded model's forwards are made in step with those of the group's ranks; others need no company.

    Raises:
        ModelError: if the model is sharded and there is no group.
    """
    if not is_sharded(model):
        yield
    elif group is None:
        raise ModelError(
            "the policy's weights are sharded and group is None; expected the process group of the ranks that hold "
            "them, since all must make the same forwards."
        )
    else:
        with stepping(Lockstep(group, partial(accompany, model))):
            yield


def accompany(model: Any, kind: Kind) -> None:
    """The least forward of a kind: one token through the model, or none through its output head."""
    device = device_of(model)
    if kind == Kind.FORWARD:
        token_11 = torch.zeros(1, 1, dtype=torch.long, device=device)
        mask = {"attention_mask": torch.ones_like(token_11)} if accepts(model, "attention_mask") else {}
        model(input_ids=token_11, **mask)
        return
    dtype, size = next(model.parameters()).dtype, inner(model).config.get_text_config().hidden_size
    states_10D = torch.zeros(1, 0, size, dtype=dtype, device=device)
    with answering(trunk_of(model), _NoToken(last_hidden_state=states_10D)):
        model(input_ids=torch.zeros(1, 0, dtype=torch.long, device=device))


class _NoToken(BaseModelOutputWithPast):
    """What the trunk of any family would give for no token: what else a family asks its output for is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)
