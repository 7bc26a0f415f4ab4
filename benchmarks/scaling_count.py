"""Counts what a process sends to others and what it keeps, for `scaling.py --check`; nothing in the package counts."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from scaling_model import pickled
from torch.distributed.fsdp._fully_shard import _fsdp_collectives

from spancredit.counterfactual.memory import Memory

SENDERS = ("shared_out", "_groups", "_report", "_filled_up", "_allowance", "_generate_and_score_completions")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Bytes that this rank sends as objects, by the function that sends them; all-reduces; parameters gathered."""
    seen: Counter[str] = Counter()
    send, gather, reduce_ = dist.send_object_list, dist.all_gather_object, dist.all_reduce
    to_one = dist.gather_object
    parameters, keep = _fsdp_collectives.dist.all_gather_single, Memory.keep

    def caller() -> str:
        frame: FrameType | None = sys._getframe(2)
        while frame and frame.f_code.co_name not in SENDERS:
            frame = frame.f_back
        return frame.f_code.co_name if frame else "other"

    def sending(objects: list[Any], *a: Any, **k: Any) -> Any:
        seen["_send"] += sum(map(pickled, objects))
        return send(objects, *a, **k)

    def gathering(found: list[Any], mine: Any, *a: Any, **k: Any) -> Any:
        seen[caller()] += pickled(mine)
        return gather(found, mine, *a, **k)

    def gathering_to_one(mine: Any, *a: Any, **k: Any) -> Any:
        seen["observer"] += pickled(mine)
        return to_one(mine, *a, **k)

    def reducing(tensor: torch.Tensor, *a: Any, **k: Any) -> Any:
        if sys._getframe(1).f_code.co_name == "_highest":
            seen["steps"] += 1
            seen["steps_bytes"] += tensor.numel() * tensor.element_size()
        return reduce_(tensor, *a, **k)

    def sharing(output: torch.Tensor, given: torch.Tensor, *a: Any, **k: Any) -> Any:
        seen["parameters_received"] += (output.numel() - given.numel()) * output.element_size()
        return parameters(output, given, *a, **k)

    def keeping(memory: Memory, *a: Any) -> None:
        keep(memory, *a)
        seen["kept"] = max(seen["kept"], len(memory._slots))

    with (
        patch.object(dist, "send_object_list", sending),
        patch.object(dist, "all_gather_object", gathering),
        patch.object(dist, "gather_object", gathering_to_one),
        patch.object(dist, "all_reduce", reducing),
        patch.object(_fsdp_collectives.dist, "all_gather_single", sharing),
        patch.object(Memory, "keep", keeping),
    ):
        yield seen
