"""Forwards in step: where the policy's weights are sharded, a forward of one rank needs one of every other rank.

Ranks have different spans, so they need different numbers of forwards, and after a fall-back different kinds of them.
Before each forward a rank says which kind it is about to make; the highest kind that any rank names is made by all, by
those that do not need it over next to nothing. A rank that is through keeps the others company until all are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

import torch
import torch.distributed as dist


class Kind(IntEnum):
    """What a rank is about to do. Where ranks differ, the highest goes first."""

    DONE = 0
    FORWARD = 1  # the whole model
    HEAD = 2  # the output head alone


class Lockstep:
    """The forwards of this rank, in step with those of a group that can talk on the CPU.

    Args:
        accompany: Makes the least forward of a kind.
    """

    def __init__(self, group: dist.ProcessGroup, accompany: Callable[[Kind], None]):
        self.group, self.accompany = group, accompany
        self.made = 0  # forwards of any kind, the same on every rank

    def wait_for(self, kind: Kind) -> None:
        """Come back when every rank is about to make a forward of this kind; until then make those of the others."""
        while (chosen := self._highest(kind)) != kind:
            self.made += 1
            self.accompany(chosen)
        self.made += kind != Kind.DONE

    def _highest(self, kind: Kind) -> Kind:
        kind_1 = torch.tensor([int(kind)])
        dist.all_reduce(kind_1, dist.ReduceOp.MAX, group=self.group)
        return Kind(int(kind_1))


CURRENT: ContextVar[Lockstep | None] = ContextVar("lockstep", default=None)


def in_company() -> bool:
    """Whether forwards are made in step, so that one rank alone cannot begin again."""
    return CURRENT.get() is not None


def keep_step(kind: Kind) -> None:
    """To be called right before a forward, with no hook set: waits where a forward needs company, else does nothing."""
    current = CURRENT.get()
    if current is not None:
        current.wait_for(kind)


@contextmanager
def stepping(lockstep: Lockstep) -> Iterator[None]:
    """Inside, forwards are made in step. An error leaves at once: the rank ends, and its launcher ends the others."""
    token = CURRENT.set(lockstep)
    try:
        yield
        lockstep.wait_for(Kind.DONE)
    finally:
        CURRENT.reset(token)
