"""The trusted end of a candidate's channel: send the request, take blocks until the end or a limit."""

import select
import socket
import struct
import time
from dataclasses import dataclass, field

from spancredit.sandbox.candidate import OutcomeStatus, Result
from spancredit.sandbox.inside import child
from spancredit.sandbox.inside.wire import WireError, decode, printable

SLACK = 1 << 12  # bytes beyond the permitted ones, for what is not a value: 200 of each call and these
_PIECE = 1 << 16
_LENGTH = struct.Struct(">I")


class _Stop(Exception):  # noqa: N818
    def __init__(self, status: OutcomeStatus, detail: str = ""):
        self.status = status
        self.detail = detail


@dataclass
class Conversation:
    """One visit's exchange.

    Attributes:
        channel: Our end, which is not closed here.
        request: All bytes of it.
        calls: How many are made.
        deadline: On the monotonic clock, of the whole.
        permitted: Bytes of results.
        results: Of the calls that were answered.
    """

    channel: socket.socket
    request: bytes
    calls: int
    deadline: float
    permitted: int
    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._received = bytearray()
        self._total = 0
        self._defined = False

    def hold(self) -> tuple[OutcomeStatus | None, str]:
        """Until it ends: the status and its detail; None if the candidate hung up before its end."""
        self.channel.setblocking(False)
        try:
            self._exchange()
        except _Stop as stop:
            return stop.status, stop.detail
        return None, ""

    def _exchange(self) -> None:
        unsent = memoryview(self.request)
        poll = select.poll()
        while True:
            poll.register(self.channel, select.POLLIN | (select.POLLOUT if unsent else 0))
            left = self.deadline - time.monotonic()
            events = poll.poll(max(left, 0) * 1000) if left > 0 else []
            if not events:
                raise _Stop("timeout")
            event = events[0][1]
            if event & select.POLLOUT and unsent:
                unsent = unsent[self._sent(unsent) :]
            if event & ~select.POLLOUT and not self._receive():
                return

    def _sent(self, unsent: memoryview) -> int:
        try:
            return self.channel.send(unsent)
        except (BrokenPipeError, ConnectionResetError):
            return len(unsent)  # it no longer reads; what it wrote is still to be read

    def _receive(self) -> bool:
        try:
            piece = self.channel.recv(_PIECE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._received += piece
        self._total += len(piece)
        if self._total > self.permitted + SLACK + 200 * self.calls:
            raise _Stop("flood")
        while (content := self._next()) is not None:
            self._take(content)
        return bool(piece)

    def _next(self) -> bytes | None:
        if len(self._received) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
        if end > self.permitted + SLACK:
            raise _Stop("garbled", "a block is announced that is longer than what is permitted")
        if len(self._received) < end:
            return None
        content = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return content

    def _take(self, content: bytes) -> None:
        kind, rest = content[:1], content[1:]
        if not self._defined:
            self._take_first(kind, rest)
        elif len(self.results) == self.calls:
            raise _Stop("done") if content == child.END and not self._received else _Stop("garbled", "more than asked")
        else:
            self.results.append(_result(kind, rest))

    def _take_first(self, kind: bytes, rest: bytes) -> None:
        if kind == child.BROKEN:
            raise _Stop("broken", printable(rest.decode("utf-8", "replace")))
        if kind == child.MISSING and not rest:
            raise _Stop("missing")
        if kind != child.DEFINED or rest:
            raise _Stop("garbled", "the first block is none")
        self._defined = True


def _result(kind: bytes, rest: bytes) -> Result:
    try:
        if kind == child.VALUE:
            return Result("value", decode(rest))
    except WireError as error:
        raise _Stop("garbled", str(error)) from error
    said = printable(rest.decode("utf-8", "replace"))
    if kind == child.RAISED:
        return Result("raised", detail=said)
    if kind == child.UNSENDABLE:
        return Result("unsendable", detail=said)
    raise _Stop("garbled", "a block is of no known kind")
