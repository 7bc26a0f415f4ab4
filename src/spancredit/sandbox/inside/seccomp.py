"""seccomp: the system calls that a candidate may make. It is a list of what is allowed; all else fails with EPERM.

Some are allowed in part: files are opened for reading only, limits are read but not set, and `fcntl` cannot direct
signals at another process.
"""

import ctypes
import errno
import struct

from . import kernel

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in what the filter is given
_X32 = 0x40000000
_PR_SET_SECCOMP, _FILTER = 22, 2

_WRITING = 0o1 | 0o2 | 0o100 | 0o1000  # write-only, read-write, create, truncate
_FCNTL = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_IN_PART = {"open", "openat", "openat2", "prlimit64", "fcntl", "ioctl", "clone3"}

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if not, operand


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def program() -> _Program:
    """The filter of this machine, ready for `install`."""
    machine, calls = kernel.machine()
    code: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in calls.items():
        if name not in _IN_PART:
            code += _on(number, [_answer(_ALLOW)])
    for name, body in _bodies():
        if name in calls:
            code += _on(calls[name], body)
    code.append(_refuse(errno.EPERM))
    packed = b"".join(struct.pack("=HBBI", *one) for one in code)
    return _Program(len(code), packed)


def install(filter_: _Program) -> None:
    """Put this process under a filter, for good. Needs `no_new_privs`."""
    kernel.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(filter_))


def _bodies() -> list[tuple[str, list[Instruction]]]:
    return [
        ("open", _for_reading(1)),
        ("openat", _for_reading(2)),
        ("openat2", [_refuse(errno.ENOSYS)]),
        ("clone3", [_refuse(errno.ENOSYS)]),
        ("ioctl", [_refuse(errno.ENOTTY)]),
        ("prlimit64", _if_null(2)),
        ("fcntl", _if_one_of(1, _FCNTL)),
    ]


def _on(number: int, body: list[Instruction]) -> list[Instruction]:
    return [(_EQUAL, 0, len(body), number), *body]


def _for_reading(argument: int) -> list[Instruction]:
    return [_low(argument), (_ANY_BIT, 1, 0, _WRITING), _answer(_ALLOW), _refuse(errno.EACCES)]


def _if_null(argument: int) -> list[Instruction]:
    high = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4)
    return [
        _low(argument), (_EQUAL, 0, 3, 0), high, (_EQUAL, 0, 1, 0), _answer(_ALLOW), _refuse(errno.EPERM),
    ]  # fmt: skip


def _if_one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [_low(argument), *tests, _refuse(errno.EPERM), _answer(_ALLOW)]


def _low(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)  # both machines are little-endian


def _answer(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _refuse(code: int) -> Instruction:
    return _answer(_ERRNO | code)
