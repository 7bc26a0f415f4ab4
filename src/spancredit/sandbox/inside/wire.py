"""Values as bytes, and back: None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict.

    value -> one tag byte, then a length or count of four bytes where the kind has one, then the content

Bytes from a candidate are hostile. `decode` builds exact builtins and `Opaque`, never calls what it reads, and refuses
what is too deep, cut off, or made to be slow: elements of a set or keys of a dict that share their hash.

An instance of a builtin's subclass travels as the builtin that it holds (`Counter` as dict, a named tuple as tuple, an
`IntEnum` as int): what its own `__eq__` or `__class__` say never reaches the other side. Anything else is an `Opaque`.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

DEEPEST = 100  # containers in each other
SAME_HASH = 8  # elements of one set, or keys of one dict; -1 and -2 share theirs, honest ones hardly more
LONGEST_NAME = 100  # characters of a type's name

_COUNT = struct.Struct(">I")
_FLOAT = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_BUILTINS: tuple[type, ...] = (bool, int, float, complex, str, bytes, *_SEQUENCES, dict)


class WireError(ValueError):
    """A value that cannot travel, or bytes that are none."""


class Opaque:
    """A value that is no builtin. It equals nothing, not even itself.

    Attributes:
        type_name: What its type is called, with the module if that is not `builtins`: `re.Match`.
    """

    __slots__ = ("type_name",)

    def __init__(self, type_name: str):
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<opaque {self.type_name}>"


def encode(value: object, largest: int, opaque: bool = True) -> bytes:
    """The bytes of a value.

    Raises:
        WireError: if they are more than `largest`, if containers are nested deeper than `DEEPEST`, or if some part is
            no builtin and `opaque` is False.
    """
    out = bytearray()
    _write(value, out, largest, opaque, 0)
    return bytes(out)


def decode(data: bytes) -> Any:
    """The value of these bytes.

    Raises:
        WireError: if they are not exactly one value that `encode` could have written.
    """
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"broken value: {error}") from error
    if reader.at != len(data):
        raise WireError(f"expected {reader.at} bytes of a value, got {len(data)}")
    return value


def type_name(kind: type) -> str:
    """How messages call a type: printable, of bounded length."""
    module, name = (type.__dict__[what].__get__(kind) for what in ("__module__", "__name__"))
    if not isinstance(module, str) or module in ("builtins", "candidate"):
        return printable(name)
    return printable(f"{module}.{name}")


def printable(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in str(name)[:LONGEST_NAME])


def _write(value: Any, out: bytearray, largest: int, opaque: bool, depth: int) -> None:
    if len(out) > largest:
        raise WireError(f"larger than {largest} bytes")
    if depth > DEEPEST:
        raise WireError(f"nested deeper than {DEEPEST}")
    kind = type(value)
    base = kind if kind in _BUILTINS else next((one for one in _BUILTINS if issubclass(kind, one)), None)
    if value is None:
        out += b"N"
    elif base is bool:
        out += b"T" if value is True else b"F"
    elif base is int:
        number = int.__index__(value)
        _write_sized(b"i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True), out)
    elif base is float:
        out += b"f" + _FLOAT.pack(float.__float__(value))
    elif base is complex:
        part = complex.__dict__
        out += b"c" + _COMPLEX.pack(part["real"].__get__(value), part["imag"].__get__(value))
    elif base is str:
        _write_sized(b"s", str.encode(value, "utf-8", "surrogatepass"), out)
    elif base is bytes:
        _write_sized(b"b", bytes.__getitem__(value, slice(None)), out)
    elif base is dict:
        out += b"d" + _COUNT.pack(dict.__len__(value))
        for key, one in dict.items(value):
            _write(key, out, largest, opaque, depth + 1)
            _write(one, out, largest, opaque, depth + 1)
    elif base is not None:
        out += _SEQUENCES[base] + _COUNT.pack(base.__len__(value))  # type: ignore[attr-defined]
        for one in base.__iter__(value):  # type: ignore[attr-defined]
            _write(one, out, largest, opaque, depth + 1)
    elif not opaque:
        raise WireError(f"of type {type_name(kind)}, which is no builtin that can travel")
    else:
        name = value.type_name if kind is Opaque else type_name(kind)
        _write_sized(b"o", name.encode("utf-8", "replace"), out)
    if len(out) > largest:
        raise WireError(f"larger than {largest} bytes")


def _write_sized(tag: bytes, content: bytes, out: bytearray) -> None:
    out += tag + _COUNT.pack(len(content)) + content


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise WireError(f"cut off: {length} bytes expected, {len(self.data) - self.at} left")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def count(self) -> int:
        (count,) = _COUNT.unpack(self.take(4))
        if count > len(self.data) - self.at:  # each element, and each byte, takes one at least
            raise WireError(f"cut off: {count} announced, {len(self.data) - self.at} bytes left")
        return count

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise WireError(f"nested deeper than {DEEPEST}")
        tag = self.take(1)
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag == b"f":
            return _FLOAT.unpack(self.take(8))[0]
        if tag == b"c":
            return complex(*_COMPLEX.unpack(self.take(16)))
        if tag in _SIZED:
            return _SIZED[tag](self.take(self.count()))
        if tag == b"d":
            pairs = [(self.value(depth + 1), self.value(depth + 1)) for _ in range(self.count())]
            _check_hashes(key for key, _ in pairs)
            return dict(pairs)
        if tag not in _CONTAINERS:
            raise WireError(f"unknown tag {tag!r}")
        elements = [self.value(depth + 1) for _ in range(self.count())]
        if tag in b"SZ":
            _check_hashes(elements)
        return _CONTAINERS[tag](elements)


def _check_hashes(elements: Iterable[Any]) -> None:
    """Before they are looked up in each other: many of one hash take a time that grows with their square."""
    try:
        hashes = Counter(map(hash, elements))
    except TypeError as error:
        raise WireError(f"an element of a set or key of a dict cannot be hashed: {error}") from error
    if hashes and max(hashes.values()) > SAME_HASH:
        raise WireError(f"more than {SAME_HASH} elements of one hash")


_CONSTANTS: dict[bytes, object] = {b"N": None, b"T": True, b"F": False}
_SIZED: dict[bytes, Callable[[bytes], object]] = {
    b"i": lambda content: int.from_bytes(content, "big", signed=True),
    b"s": lambda content: content.decode("utf-8", "surrogatepass"),
    b"b": lambda content: content,
    b"o": lambda content: Opaque(printable(content.decode("utf-8", "replace"))),
}
_CONTAINERS: dict[bytes, Callable[[list[Any]], object]] = {b"l": list, b"t": tuple, b"S": set, b"Z": frozenset}
