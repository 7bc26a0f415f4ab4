"""The trusted end of a zygote: start it, have it fork, end it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from spancredit.errors import SandboxError
from spancredit.sandbox import command
from spancredit.sandbox.inside import zygote

LevelName = Literal["bubblewrap", "landlock", "none"]
START_SECONDS = 60.0
REPLY_SECONDS = 10.0  # for a kill and a reply, which take none on a machine that is not stuck

_COMMANDS: dict[LevelName, Callable[[int], list[str]]] = {
    "bubblewrap": command.bubblewrapped,
    "landlock": lambda control: command.plain(control, confined=True),
    "none": lambda control: command.plain(control, confined=False),
}


class ZygoteDied(Exception):  # noqa: N818
    """The zygote is gone, or does not answer."""


class Zygote:
    """One zygote, which serves one visit at a time.

    Attributes:
        landlock: The ABI of Landlock that it is under; 0 at level `none`.

    Raises:
        SandboxError: if it does not start at this level.
    """

    def __init__(self, level: LevelName):
        if sys.platform != "linux":
            raise SandboxError(f"the sandbox needs Linux, got {sys.platform}")
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = _started(_COMMANDS[level](theirs.fileno()), theirs.fileno())
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        self.landlock = self._ready()

    def fork(self, memory: int, cpu_seconds: float) -> socket.socket:
        """Have it fork a child with these limits (bytes, seconds); the trusted end of the child's channel.

        Raises:
            ZygoteDied: if it has.
        """
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [zygote.REQUEST.pack(memory, cpu_seconds)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise ZygoteDied(str(error)) from error
        finally:
            theirs.close()
        return ours

    def end(self) -> tuple[int, float]:
        """Kill the child; its wait status (of its own end, if that came before) and its processor time in seconds.

        Raises:
            ZygoteDied: if it has.
        """
        try:
            self._control.send(zygote.END)
            status, seconds = zygote.REPLY.unpack(self._message(REPLY_SECONDS))
        except OSError as error:
            raise ZygoteDied(str(error)) from error
        return status, seconds

    def close(self) -> None:
        """Kill it, with all that it started."""
        self._control.close()
        _kill_group(self._process.pid)
        self._process.communicate()

    def _ready(self) -> int:
        try:
            message = self._message(START_SECONDS)
            kind, rest = message[:1], message[1:]
        except (OSError, ZygoteDied) as error:
            kind, rest = zygote.FAILED, str(error).encode()
        if kind == zygote.READY:
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process.stderr = None
            return rest[0]
        self._control.close()
        _kill_group(self._process.pid)
        _, said = self._process.communicate()
        raise SandboxError((said.decode("utf-8", "replace").strip().rpartition("\n")[2] or rest.decode())[:400])

    def _message(self, seconds: float) -> bytes:
        self._control.settimeout(seconds)
        message = self._control.recv(zygote.LONGEST)
        if not message:
            raise ZygoteDied("its control socket is closed")
        return message


def _started(arguments: list[str], control: int) -> "subprocess.Popen[bytes]":
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # becomes the candidates' stdin, stdout and stderr
    try:
        return subprocess.Popen(
            arguments,
            stdin=null,
            stdout=null,
            stderr=subprocess.PIPE,
            pass_fds=(control,),
            env=command.ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(null)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(leader, signal.SIGKILL)
