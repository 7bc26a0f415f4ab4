"""Work shared out over ranks: what one rank has too much of is measured by another, and comes back.

prices of all ranks -> moves, the same list on every rank -> jobs travel -> each rank measures -> results travel back
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

Job = TypeVar("Job")
Result = TypeVar("Result")
TOLERATED = 0.02  # of the mean load: less is not worth a move


@dataclass(frozen=True)
class Move:
    """A job, by its number on the rank that has it, and the ranks between which it travels."""

    giver: int
    taker: int
    job: int


def shared_out(
    measure: Callable[[list[Job], float], Sequence[Result]],
    jobs: Sequence[Job],
    prices: Sequence[float],
    group: dist.ProcessGroup | None,
) -> list[Result]:
    """`measure(jobs, 1.0)`, with the ranks of the group sharing out the jobs of all of them by their prices.

    Every rank of the group calls it, with its own jobs, and gets the results of these, in order. What travels is
    pickled: jobs that move, once each way, and everyone's prices.

    Args:
        measure: Measures jobs, and is told what they cost over what a rank has to do in the mean.
        prices: What each job costs, in any unit that is the same on all ranks; not read without a group.
    """
    if group is None:
        return list(measure(list(jobs), 1.0))
    loads: list[list[float]] = [[]] * dist.get_world_size(group)
    dist.all_gather_object(loads, list(prices), group=group)
    me, moves = dist.get_rank(group), moves_for(loads)
    given, taken = _by_peer(moves, me, giving=True), _by_peer(moves, me, giving=False)
    left = [i for i in range(len(jobs)) if all(i != move.job for some in given.values() for move in some)]
    _send({taker: [jobs[move.job] for move in some] for taker, some in given.items()}, group)
    received = _receive(taken, group)
    mine = [*(jobs[i] for i in left), *(job for some in received.values() for job in some)]
    results = list(measure(mine, share_of(loads, moves, me)))
    own, others = results[: len(left)], iter(results[len(left) :])
    _send({giver: [next(others) for _ in some] for giver, some in received.items()}, group)
    back = _receive(given, group)
    found = dict(zip(left, own, strict=True))
    for taker, some in given.items():
        found |= {move.job: result for move, result in zip(some, back[taker], strict=True)}
    return [found[i] for i in range(len(jobs))]


def moves_for(loads: Sequence[Sequence[float]]) -> list[Move]:
    """Moves that bring the largest load of a rank near the mean: greedy, and no rank both gives and takes.

    From the most loaded rank to the least, the job that comes closest to halving the difference of the two, as long as
    that lowers the larger of both.

    Args:
        loads: For each rank the prices of its jobs.
    """
    totals = [sum(prices) for prices in loads]
    mean = sum(totals) / len(totals)
    givers = {rank for rank, total in enumerate(totals) if total > mean}
    jobs = {rank: dict(enumerate(loads[rank])) for rank in givers}
    moves = []
    while givers:
        giver = max(givers, key=lambda rank: totals[rank])
        taker = min((r for r in range(len(totals)) if r not in jobs), key=lambda r: totals[r], default=giver)
        gap = totals[giver] - totals[taker]
        fitting = {job: price for job, price in jobs[giver].items() if 0 < price < gap}
        if not fitting or gap <= TOLERATED * mean:
            givers.remove(giver)
            continue
        job = min(fitting, key=lambda job: abs(fitting[job] - gap / 2))
        price = jobs[giver].pop(job)
        totals[giver], totals[taker] = totals[giver] - price, totals[taker] + price
        moves.append(Move(giver, taker, job))
    return moves


def share_of(loads: Sequence[Sequence[float]], moves: Sequence[Move], rank: int) -> float:
    """What a rank has to do after the moves, over the mean; 1 where nobody has anything to do."""
    load, mean = sum(loads[rank]), sum(map(sum, loads)) / len(loads)
    for move in moves:
        load += loads[move.giver][move.job] * ((move.taker == rank) - (move.giver == rank))
    return load / mean if mean else 1.0


def _by_peer(moves: Sequence[Move], me: int, giving: bool) -> dict[int, list[Move]]:
    """The moves of this rank, by the other one, in the order of ranks."""
    found: dict[int, list[Move]] = defaultdict(list)
    for move in moves:
        if me == (move.giver if giving else move.taker):
            found[move.taker if giving else move.giver].append(move)
    return {peer: found[peer] for peer in sorted(found)}


def _send(parcels: dict[int, list[Any]], group: dist.ProcessGroup) -> None:
    for peer, parcel in parcels.items():
        dist.send_object_list([parcel], group_dst=peer, group=group)


def _receive(peers: Iterable[int], group: dist.ProcessGroup) -> dict[int, list[Any]]:
    received: dict[int, list[Any]] = {}
    for peer in peers:
        parcel: list[list[Any]] = [[]]
        dist.recv_object_list(parcel, group_src=peer, group=group)
        received[peer] = parcel[0]
    return received
