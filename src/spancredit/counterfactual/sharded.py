"""A policy whose weights are sharded over ranks: how to tell, and forwards that keep other ranks company."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.distributed.tensor import DTensor

from spancredit.counterfactual.forward import accepts, device_of
from spancredit.counterfactual.lockstep import Kind, Lockstep, stepping
from spancredit.counterfactual.projection import answering, bare, trunk_of
from spancredit.errors import ModelError


def is_sharded(model: Any) -> bool:
    """Whether a forward gathers weights from other ranks: FSDP2, or DeepSpeed's ZeRO-3."""
    return any(isinstance(module, FSDPModule) for module in model.modules()) or any(
        hasattr(parameter, "ds_id") for parameter in model.parameters()
    )


@contextmanager
def in_step(model: Any, group: dist.ProcessGroup | None) -> Iterator[None]:
    """Inside, a sharded model's forwards are made in step with those of the group's ranks; others need no company.

    Raises:
        ModelError: if the model is sharded and there is no group that can talk on the CPU, or if it is distributed in
            a way that forwards of its own on each rank cannot serve.
    """
    _check(model, group)
    if group is None or not is_sharded(model):
        yield
        return
    last: list[Any] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        last[:] = [bare(output, output.last_hidden_state[:1, :0])]

    trunk = trunk_of(model)
    hook = trunk.register_forward_hook(keep) if trunk is not None else None
    try:
        with stepping(Lockstep(group, partial(accompany, model, last))):
            yield
    finally:
        if hook is not None:
            hook.remove()


def accompany(model: Any, last: list[Any], kind: Kind) -> None:
    """The least forward of a kind: one token through the model, or none through its output head.

    Args:
        last: What the trunk gave last, for no token. Every rank has made a forward before any reads logits.
    """
    device = device_of(model)
    if kind == Kind.HEAD:
        with answering(trunk_of(model), last[0]):
            model(input_ids=torch.zeros(1, 0, dtype=torch.long, device=device))
        return
    token_11 = torch.zeros(1, 1, dtype=torch.long, device=device)
    mask = {"attention_mask": torch.ones_like(token_11)} if accepts(model, "attention_mask") else {}
    model(input_ids=token_11, **mask)


def _check(model: Any, group: dist.ProcessGroup | None) -> None:
    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        raise ModelError("the policy is sharded by FSDP's first version; expected FSDP2 (fully_shard).")
    if is_sharded(model):
        if group is None and dist.get_world_size() > 1:
            raise ModelError(
                "the policy's weights are sharded and group is None; expected the process group of the ranks that hold "
                "them, since all must make the same forwards."
            )
        if group is not None and dist.get_backend(group) == "nccl":
            raise ModelError(
                "group talks on GPUs alone (nccl); expected one that talks on the CPU: new_group(backend='gloo')."
            )
    elif group is not None and any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        raise ModelError(
            "the policy's weights are split by tensor parallelism, whose ranks compute one forward together; expected "
            "the same rollouts on all of them, and no group."
        )
