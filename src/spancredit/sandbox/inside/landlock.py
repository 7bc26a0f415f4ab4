"""Landlock: which files can be read. Nothing can be written, made, removed or run; no TCP, no signal to the outside.

The zygote takes on `reading`, once. Each of its children adds `apart`, which lets nothing more through and makes the
zygote an outsider to it, so that it can neither trace nor signal it.
"""

import ctypes
import os
from collections.abc import Iterable

from . import kernel

_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every machine
_VERSION = 1 << 0
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR, _MAKE_CHAR = 1 << 2, 1 << 3, 1 << 6
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # by the ABI that brought them
_TCP, _TCP_ABI = 0b11, 4  # bind, connect
_SCOPES, _SCOPES_ABI = 0b11, 6  # abstract unix sockets, signals


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The version that the kernel speaks.

    Raises:
        OSError: if it speaks none.
    """
    return kernel.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))


def reading(listable: str, readable: Iterable[str]) -> int:
    """A ruleset under which only these files, and what is in these folders, can be read; as a descriptor.

    Args:
        listable: A folder of which only the names can be read, and those of the folders in it.
        readable: Files and folders; what is not there, as behind a link that leads out of a mount, is left out.
    """
    version = abi()
    files = _FILE_RIGHTS[max(one for one in _FILE_RIGHTS if one <= version)]
    ruleset = _ruleset(files, version)
    _allow(ruleset, listable, _READ_DIR)
    for path in filter(os.path.exists, readable):
        _allow(ruleset, path, _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0))
    return ruleset


def apart() -> int:
    """A ruleset for a process that is to be apart from its parent; as a descriptor."""
    return _ruleset(_MAKE_CHAR, abi())


def restrict(ruleset: int) -> None:
    """Put this process under a ruleset, for good. Needs `no_new_privs`."""
    kernel.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = _Beneath(rights, beneath)
    kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
    os.close(beneath)


def _ruleset(files: int, version: int) -> int:
    attributes = _Attributes(files, _TCP if version >= _TCP_ABI else 0, _SCOPES if version >= _SCOPES_ABI else 0)
    size = 24 if version >= _SCOPES_ABI else 16 if version >= _TCP_ABI else 8
    return kernel.syscall(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
