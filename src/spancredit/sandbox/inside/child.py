"""One candidate in a process of its own: read the request, define, call, and send each result as it comes.

    request: block(code, entry point, bytes of results permitted, number of calls), then block(args, kwargs) of each
    reply:   block(kind + content) for each step, of the kinds below

A block is a length of four bytes and content. Whatever the candidate does to this process, it can only change what is
said of its own results: there is nothing here to compare them with.
"""

import os
import struct
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from .wire import WireError, decode, encode, type_name

DEFINED, BROKEN, MISSING = b"D", b"B", b"M"  # the first block: the code ran; raised a type; has no such entry point
VALUE, RAISED, UNSENDABLE = b"V", b"R", b"U"  # one a call: encoded value; name of a type; why it cannot travel
END = b"E"
NAME = "candidate"  # of the module that the code becomes

_LENGTH = struct.Struct(">I")
_PIECE = 1 << 16

Send = Callable[[bytes], None]


def block(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def run(channel: int) -> None:
    """Answer the request that comes on this descriptor."""
    read, send = _reader(channel), _sender(channel)
    code, entry_point, permitted, count = decode(read())
    calls = [read() for _ in range(count)]
    function = _defined(code, entry_point, send)
    if function is not None:
        _answer(function, calls, permitted, send)
        send(END)


def _defined(code: str, entry_point: str, send: Send) -> Callable[..., Any] | None:
    module = ModuleType(NAME)
    sys.modules[NAME] = module
    try:
        exec(compile(code, f"<{NAME}>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        send(BROKEN + type_name(type(error)).encode())
        return None
    function = module.__dict__.get(entry_point)
    if not callable(function):
        send(MISSING)
        return None
    send(DEFINED)
    return function


def _answer(function: Callable[..., Any], calls: Sequence[bytes], permitted: int, send: Send) -> None:
    for call in calls:
        reply = _called(function, call, permitted)
        permitted -= len(reply)
        send(reply)


def _called(function: Callable[..., Any], call: bytes, permitted: int) -> bytes:
    args, kwargs = decode(call)
    try:
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001
        return RAISED + type_name(type(error)).encode()
    try:
        return VALUE + encode(value, max(permitted, 0))
    except WireError as error:
        return UNSENDABLE + str(error).encode()
    except BaseException as error:  # noqa: BLE001
        return UNSENDABLE + type_name(type(error)).encode()


def _sender(channel: int, write: Callable[[int, memoryview], int] = os.write) -> Send:
    def send(content: bytes) -> None:
        unsent = memoryview(block(content))
        while unsent:
            unsent = unsent[write(channel, unsent) :]

    return send


def _reader(channel: int) -> Callable[[], bytes]:
    def exactly(length: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < length:
            piece = os.read(channel, min(_PIECE, length - len(pieces)))
            if not piece:
                raise EOFError(f"expected {length} bytes, got {len(pieces)}")
            pieces += piece
        return bytes(pieces)

    return lambda: exactly(_LENGTH.unpack(exactly(_LENGTH.size))[0])
