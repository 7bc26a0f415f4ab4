"""One of several processes: which of them speaks and writes, and how the others learn what it made."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from spancredit.errors import SpanCreditError

Made = TypeVar("Made")
SAID = (SpanCreditError, OSError)  # what making a folder can raise


def is_main() -> bool:
    """Whether this process speaks for all: launchers number processes in RANK."""
    return int(os.environ.get("RANK", "0")) == 0


def talking(processes: int) -> dist.ProcessGroup | None:
    """A group in which all processes talk on the CPU; None if there is only one."""
    return dist.new_group(backend="gloo") if processes > 1 else None


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


def part(group: dist.ProcessGroup | None) -> None:
    """Let all processes end together."""
    if group is not None:
        dist.barrier(group)
        dist.destroy_process_group()
