"""Several processes: which of them speaks and writes, what they tell each other, and errors that all of them raise."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from spancredit.errors import RolloutError, SpanCreditError

Made = TypeVar("Made")
SAID = (SpanCreditError, OSError)  # what making a folder can raise


def is_main() -> bool:
    """Whether this process speaks for all: launchers number processes in RANK."""
    return int(os.environ.get("RANK", "0")) == 0


def talking() -> dist.ProcessGroup | None:
    """A group in which all processes of a launcher talk on the CPU; None without one."""
    return dist.new_group(backend="gloo") if dist.is_available() and dist.is_initialized() else None


def once(make: Callable[[], Made], group: dist.ProcessGroup | None) -> Made:
    """What the main process makes, on every process. Its error is raised on every one, too."""
    if group is None:
        return make()
    made: list[object] = [None]
    if dist.get_rank() == 0:
        try:
            made = [make()]
        except SAID as error:
            made = [error]
    dist.broadcast_object_list(made, src=0, group=group)
    if isinstance(made[0], SAID):
        raise made[0]
    return made[0]  # type: ignore[return-value]


def agreed(make: Callable[[], Made], group: dist.ProcessGroup | None) -> Made:
    """What each process makes for itself, once all have made theirs. An error of one is raised on every one."""
    if group is None:
        return make()
    made, error = [], None
    try:
        made.append(make())
    except SpanCreditError as raised:
        error = raised
    said: list[str | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(said, None if error is None else str(error), group=group)
    if error is not None:
        raise error
    for rank, words in enumerate(said):
        if words is not None:
            raise RolloutError(f"on rank {rank}: {words}")
    return made[0]


def on_main(mine: list[Any], group: dist.ProcessGroup | None) -> list[Any]:
    """What all ranks have, in the order of ranks, on the first of them; nothing on the others, who need no copy."""
    if group is None:
        return mine
    first = dist.get_rank(group) == 0
    parts: list[list[Any]] = [[]] * dist.get_world_size(group)
    dist.gather_object(mine, parts if first else None, group=group, group_dst=0)
    return [one for part in parts for one in part]


def part(group: dist.ProcessGroup | None) -> None:
    """Let all processes end together."""
    if group is not None:
        dist.barrier(group)
        dist.destroy_process_group()
