"""Read the pickles of the CIFAR python files without executing anything in them. Loads no numerical library.

A pickle is a program. This reader admits the few instructions that make dictionaries, lists, texts, numbers and arrays
of bytes, checks every announced length against the file before anything is reserved for it, and lets the program call
nothing but three stand-ins of NumPy's array constructors, which keep the bytes and no more.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from weightscape.errors import DataError

_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    UNICODE SHORT_BINUNICODE BINUNICODE EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    GLOBAL STACK_GLOBAL REDUCE BUILD
    """.split()  # noqa: SIM905 (a wall of quotes says less)
)
_LONGEST_NUMBER = 64
_MOST_CALLS = 16


@dataclass
class ByteArray:
    """An array of unsigned bytes as its pickle says.

    Attributes:
        shape: Length along each axis.
        content: The elements in row-major order.
    """

    shape: tuple[int, ...] = ()
    content: bytes = b""

    def __setstate__(self, state: Any) -> None:
        """Take NumPy's state: version, shape, type, whether column-major, elements."""
        _, shape, kind, column_major, content = _expect(state, tuple, 5)
        if not isinstance(kind, _Kind) or column_major:
            _refuse("an array that is not of unsigned bytes in row-major order")
        self.shape, self.content = _checked_array(shape, content)


class _Kind:
    """The data type of an array; only unsigned bytes."""

    def __setstate__(self, state: Any) -> None:
        _expect(state, tuple, None)


def _make_kind(code: Any, *_: Any) -> _Kind:
    if code not in {"u1", b"u1", "|u1", b"|u1"}:
        _refuse(f"an array of type {code!r}")
    return _Kind()


def _make_array(*_: Any) -> ByteArray:
    return ByteArray()


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any = "C", *_: Any) -> ByteArray:
    if not isinstance(kind, _Kind) or order != "C":
        _refuse("an array that is not of unsigned bytes in row-major order")
    return ByteArray(*_checked_array(shape, content))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # How Python 3 writes bytes in the protocols of Python 2.
    if not isinstance(text, str) or encoding != "latin1":
        _refuse("an encoded text that is not latin1")
    return text.encode("latin1")


class _Callable:
    """A name that the pickle may call; instances, unlike functions, can refuse to be changed by it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        _refuse("a change of a function")


def _array_class(*_: Any) -> NoReturn:
    _refuse("a call of NumPy's array class")


_GLOBALS: dict[tuple[str, str], _Callable] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Callable(_make_array) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Callable(_from_buffer) for core in ("core", "_core")},
    ("numpy", "ndarray"): _Callable(_array_class),
    ("numpy", "dtype"): _Callable(_make_kind),
    ("_codecs", "encode"): _Callable(_encode),
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _GLOBALS:
            _refuse(f"the name {module}.{name}")
        return _GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        _refuse("a reference to another object")


def restricted_load(content: bytes, where: str) -> Any:
    """Return what a pickle of plain data and arrays of bytes holds, Python 2's texts as bytes.

    Args:
        content: The pickle.
        where: Name of the file, for messages.

    Raises:
        DataError: If the pickle is truncated, damaged, or holds anything else; nothing of it is executed.
    """
    try:
        _admit(content)
        return _Restricted(io.BytesIO(content), encoding="bytes").load()
    except _Refused as refused:
        raise DataError(
            f"{where} holds {refused}, which no CIFAR file does; nothing of it was executed. Do not use this file."
        ) from None
    except Exception as error:  # whatever a damaged program raises
        raise DataError(f"{where} is damaged or truncated: {error}. Fetch it again.") from error


class _Refused(Exception):
    pass


def _refuse(what: str) -> NoReturn:
    raise _Refused(what)


def _admit(content: bytes) -> None:
    """Check all instructions before the first is carried out; reading them checks announced lengths against the file.

    Raises:
        _Refused: At the first instruction that is not admitted.
    """
    written = calls = 0
    for opcode, found, _ in pickletools.genops(io.BytesIO(content)):
        argument: Any = found
        if opcode.name not in _OPCODES:
            _refuse(f"the instruction {opcode.name}")
        written += opcode.name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
        if opcode.name in {"PUT", "LONG_BINPUT"} and argument > written:
            # The unpickler reserves memory up to this place.
            _refuse("a memo out of order")
        calls += opcode.name == "REDUCE"
        if calls > _MOST_CALLS or (opcode.name == "FRAME" and argument > len(content)):
            _refuse("more calls or a longer frame than it needs")
        if opcode.name in {"INT", "LONG", "LONG1"} and argument.bit_length() > _LONGEST_NUMBER:
            _refuse("a number of more than 64 bits")


def _expect(value: Any, kind: type[tuple[Any, ...]], length: int | None) -> Any:
    if not isinstance(value, kind) or (length is not None and len(value) != length):
        _refuse(f"a state of type {type(value).__name__}")
    return value


def _checked_array(shape: Any, content: Any) -> tuple[tuple[int, ...], bytes]:
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        _refuse("an array without a shape")
    if not isinstance(content, bytes | bytearray) or len(content) != math.prod(shape):
        _refuse(f"an array of shape {shape} whose content is not that many bytes")
    return shape, bytes(content)
