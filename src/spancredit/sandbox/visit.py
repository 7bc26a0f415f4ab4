"""One candidate's visit to a zygote: fork, exchange, kill, and how it went."""

import math
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from spancredit.errors import SandboxError
from spancredit.sandbox.candidate import Call, Candidate, Outcome, OutcomeStatus, Result
from spancredit.sandbox.conversation import Conversation
from spancredit.sandbox.inside.child import block
from spancredit.sandbox.inside.wire import WireError, encode
from spancredit.sandbox.process import Zygote

LARGEST = 1 << 26  # bytes of a program, and of a call's arguments

# Seconds by which a limit on processor time can strike before the time that is counted afterwards reaches it.
TICK = 0.1
LEAST_WALL, WALL = 5.0, 8.0  # seconds; and for each second of processor time of a candidate's own


@dataclass(frozen=True)
class Limits:
    """Of a visit: wall seconds, processor seconds (whole ones), bytes of memory, bytes of results."""

    seconds: float
    cpu_seconds: int
    memory: int
    output: int

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or min(self.cpu_seconds, self.memory, self.output) < 1 or self.output >> 31:
            raise SandboxError(f"limits of a sandbox are numbers above 0 (output below 2 GiB), got {self}.")


def encoded_calls(calls: Sequence[Call]) -> bytes:
    """The part of a request that variants of a program share.

    Raises:
        SandboxError: if an argument is no builtin that can travel.
    """
    each = ((f"an argument of call {number}", (tuple(one.args), dict(one.kwargs))) for number, one in enumerate(calls))
    return b"".join(block(_sendable(*one)) for one in each)


def visit(zygote: Zygote, candidate: Candidate, calls: bytes, limits: Limits) -> Outcome:
    """Run a candidate.

    Args:
        calls: Its calls, encoded.

    Raises:
        ZygoteDied: if the zygote did; nothing can be said of the candidate then.
        SandboxError: if the code is too long, or its own limit is no positive number.
    """
    if candidate.cpu_seconds is not None and not candidate.cpu_seconds > 0:
        raise SandboxError(f"a candidate's cpu_seconds is {candidate.cpu_seconds}; expected a number above 0.")
    count = len(candidate.calls)
    head = (candidate.code, candidate.entry_point, limits.output, count)
    request = block(_sendable("the code", head)) + calls
    began = time.monotonic()
    cpu_limit = min(limits.cpu_seconds, candidate.cpu_seconds or math.inf)
    with zygote.fork(limits.memory, cpu_limit) as channel:
        talk = Conversation(channel, request, count, began + _wall(candidate, limits), limits.output)
        status, detail = talk.hold()
    wait_status, cpu_seconds = zygote.end()
    if status is None:
        status, detail = _hung_up(wait_status, cpu_seconds, cpu_limit)
    missing = count - len(talk.results)
    results = (*talk.results, *[Result("unfinished")] * missing)
    return Outcome(status, results, time.monotonic() - began, cpu_seconds, detail)


def _wall(candidate: Candidate, limits: Limits) -> float:
    """Seconds on the wall: one with little processor time that sleeps should not take all that others may."""
    if candidate.cpu_seconds is None:
        return limits.seconds
    return min(limits.seconds, LEAST_WALL + WALL * candidate.cpu_seconds)


def _sendable(what: str, value: object) -> bytes:
    try:
        return encode(value, LARGEST, opaque=False)
    except WireError as error:
        raise SandboxError(f"{what} cannot be sent into the sandbox: it is {error}.") from error


def _hung_up(wait_status: int, cpu_seconds: float, limit: float) -> tuple[OutcomeStatus, str]:
    """What ended a process that closed its channel too early."""
    if not os.WIFSIGNALED(wait_status):
        return "exited", f"exit code {os.waitstatus_to_exitcode(wait_status)}"
    number = os.WTERMSIG(wait_status)
    by_timer = number == signal.SIGPROF and limit != int(limit)  # which strikes by ticks, so early
    killed = number == signal.SIGKILL and cpu_seconds >= math.ceil(limit) - TICK
    if number == signal.SIGXCPU or by_timer or killed:
        return "cpu", f"{limit:g} s"
    known = number in set(signal.Signals)
    return "crashed", signal.Signals(number).name if known else f"signal {number}"
