"""The warm process that every candidate is forked from. It reads no code, no argument and no result, ever.

    run    limits as numbers and the descriptor of a channel -> a child that confines itself and answers on the channel
    end    -> the child is killed and reaped; the reply is how it ended and the processor time it took

Its control socket brings nothing else, so what a child inherits tells it nothing of other candidates. When the socket
closes, the child and the zygote end.
"""

import gc
import importlib
import math
import os
import resource
import signal
import socket
import struct
import sys

from . import child, kernel, landlock, seccomp

REQUEST = struct.Struct("<Qd")  # bytes of memory, seconds of processor time
REPLY = struct.Struct("<id")  # wait status, seconds of processor time
READY, FAILED, END = b"R", b"F", b"E"
LONGEST = 4096  # bytes of a message

PRELOADED = (
    *("bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools"),
    *("hashlib", "heapq", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing"),
)
_CHANNEL = 3
_DESCRIPTORS = 64
_ALIKE = (  # limits that hold for every child, and do not disturb the zygote
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_NOFILE, _DESCRIPTORS),
)


class Confinement:
    """What a child puts itself under, made ready before any candidate comes."""

    def __init__(self) -> None:
        self.apart = landlock.apart()
        self.calls = seccomp.program()

    def enter(self) -> None:
        landlock.restrict(self.apart)
        os.close(self.apart)
        seccomp.install(self.calls)


def serve(control_fd: int, confined: bool, listable: str, readable: list[str]) -> None:
    """Confine this process, say that it is ready (with Landlock's ABI), and serve until the socket closes.

    Args:
        control_fd: One end of a unix socket of messages.
        confined: Whether candidates are; without, only limits hold.
        listable, readable: As `landlock.reading` takes them.
    """
    os.dup2(control_fd, _CHANNEL)
    os.closerange(_CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
    control = socket.socket(fileno=_CHANNEL)
    os.environ.clear()
    for number in (signal.SIGINT, signal.SIGPROF, signal.SIGXCPU):  # whatever the parent does with them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGPROF, signal.SIGXCPU))
    for name in PRELOADED:
        importlib.import_module(name)
    for what, limit in _ALIKE:
        resource.setrlimit(what, (limit, limit))
    try:
        confinement = _confine(listable, readable) if confined else None
        version = landlock.abi() if confined else 0
    except OSError as error:
        control.send(FAILED + str(error).encode()[: LONGEST - 1])
        return
    os.dup2(0, 1)
    os.dup2(0, 2)
    gc.collect()
    gc.freeze()
    control.send(READY + bytes([version]))
    while _visit(control, confinement):
        pass


def _confine(listable: str, readable: list[str]) -> Confinement:
    kernel.give_up_privileges()
    ruleset = landlock.reading(listable, readable)
    landlock.restrict(ruleset)
    os.close(ruleset)
    return Confinement()


def _visit(control: socket.socket, confinement: Confinement | None) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, LONGEST, 1)
    if not message:
        return False
    memory, seconds = REQUEST.unpack(message)
    (channel,) = descriptors
    zygote = os.getpid()
    process = os.fork()
    if not process:
        control.detach()  # its number becomes the channel's
        _live(channel, zygote, memory, seconds, confinement)
    os.close(channel)
    message = control.recv(LONGEST)
    status, taken = _ended(process)
    if message:
        control.send(REPLY.pack(status, taken))
    return bool(message)


def _ended(process: int) -> tuple[int, float]:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its group yet
        os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    return status, usage.ru_utime + usage.ru_stime


def _live(channel: int, zygote: int, memory: int, seconds: float, confinement: Confinement | None) -> None:
    """The child's whole life; it does not return."""
    leave = os._exit
    try:
        os.setsid()
        kernel.end_with_parent(signal.SIGKILL)
        if os.getppid() != zygote:
            leave(1)
        os.dup2(channel, _CHANNEL)
        kept = -1 if confinement is None else confinement.apart
        for first, last in ((_CHANNEL + 1, kept), (max(kept, _CHANNEL) + 1, _DESCRIPTORS)):
            os.closerange(first, last)
        whole = math.ceil(seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
        if seconds < whole:  # the candidate could undo this, and then meets the limit above
            signal.setitimer(signal.ITIMER_PROF, seconds)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if confinement is not None:
            confinement.enter()
        child.run(_CHANNEL)
        leave(0)
    finally:
        leave(1)


def main() -> None:
    """From a command line: the control socket, `confined` or `free`, then what can be listed, and read."""
    control, confined, listable, *readable = sys.argv[1:]
    del sys.argv[1:]
    serve(int(control), confined == "confined", listable, readable)
