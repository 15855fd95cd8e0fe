"""Read the structure of a pickle without running any code that it names.

A pickle is a program: it may name any function and have it called. Here every name becomes an :class:`Inert` stand-in,
which keeps what it is given and does nothing; the few names that plain data need (ordered dictionaries, sizes, tensors,
NumPy numbers) are answered by functions of this module. Objects of any class can therefore lie in a file beside the
tensors (argument namespaces, configurations, a whole module) and need not be installed. Loads no torch.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from weightscape.errors import StoreError

_STORAGES = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"}
_STORAGES |= {"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"}
_STORAGES |= {"ComplexFloat": "complex64", "ComplexDouble": "complex128", "Untyped": "uint8"}
_NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "b1": "?"}
_NUMBERS |= {"u8": "Q", "u4": "I", "u2": "H", "u1": "B"}


class Inert:
    """Stands for an object of a class or the result of a function that is never called.

    Attributes:
        kind: Full name of the class or function.
        arguments: What it would have been called with.
        state: What the object's state would have been set to.
        items: What would have been added to it, as a dictionary has entries and a list has members.
    """

    kind = ""

    def __new__(cls, *arguments: Any, **options: Any) -> Inert:
        """Keep the arguments; a subclass stands for each name in the pickle."""
        made = object.__new__(cls)
        made.arguments = (*arguments, *options.values())
        made.state = None
        made.items = []
        return made

    arguments: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **options: Any) -> Inert:
        """Stand for what calling the object would return."""
        return Inert(self, *arguments, **options)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, name: Any, value: Any) -> None:
        self.items.append((name, value))

    def append(self, value: Any) -> None:
        """Keep a member."""
        self.items.append(value)

    def extend(self, values: Any) -> None:
        """Keep members."""
        self.items.extend(values)

    add = append

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that the object would have."""
        return self.state if isinstance(self.state, dict) else {}

    def __repr__(self) -> str:
        return f"<{self.kind or 'object'}>"

    # Members of sets and keys of dictionaries must be hashable, whatever was pickled.
    __hash__ = object.__hash__


class Ordered(dict[Any, Any]):
    """An ordered dictionary whose attributes are left out."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class StorageRef:
    """Where the numbers of tensors lie.

    Attributes:
        key: Name of the storage in the file.
        dtype: Type of its numbers, as torch calls it.
        count: Their number.
        offset: Numbers to skip, for a view of another storage.
    """

    key: str
    dtype: str
    count: int
    offset: int = 0


@dataclass(frozen=True)
class TensorRef:
    """A tensor that was not read: type, shape, and where its numbers lie."""

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: StorageRef


def read_pickle(file: BinaryIO) -> Any:
    """Read one pickle from the present position of a file, running nothing.

    Raises:
        StoreError: If it is no pickle, or is damaged.
    """
    try:
        return _Unpickler(file).load()
    except StoreError:
        raise
    except Exception as error:  # a damaged pickle fails in any way at all
        raise StoreError(f"it is damaged or no pickle ({type(error).__name__}: {error})") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self._kinds: dict[str, type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for every name; see the module."""
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if full not in self._kinds:
            self._kinds[full] = type("Inert", (Inert,), {"kind": full})
        return self._kinds[full]

    def persistent_load(self, pid: Any) -> Any:
        """Return where a storage lies; of a class whose source is in the file, its stand-in.

        Raises:
            StoreError: If the identifier is none of torch's.
        """
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise StoreError(f"it names a storage in an unknown way ({str(pid)[:80]})")
        _, kind, key, _, count, *view = pid
        name = getattr(kind, "kind", "").rpartition(".")[2].removesuffix("Storage")
        if name not in _STORAGES:
            raise StoreError(f"it holds numbers of an unknown type ({kind!r})")
        offset = int(view[0][1]) if view and view[0] else 0
        return StorageRef(str(key), _STORAGES[name], int(count), offset)


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *rest: Any) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise StoreError(f"a tensor lies in {storage!r} instead of a storage")
    return TensorRef(storage.dtype, tuple(shape), tuple(stride), int(offset) + storage.offset, storage)


def _typed_tensor(
    storage: Any, offset: int, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> TensorRef:
    name = getattr(dtype, "kind", "").removeprefix("torch.")
    return TensorRef(name, tuple(shape), tuple(stride), int(offset), storage)


def _from_type(function: Any, kind: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    # A tensor with attributes, or of a subclass: the attributes are left out.
    return function(*arguments) if function in _REBUILDS else Inert(kind, *arguments)


def _number(dtype: Any, content: Any = b"") -> Any:
    code = dtype.arguments[0] if isinstance(dtype, Inert) and dtype.arguments else None
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    if code not in _NUMBERS or not isinstance(content, bytes):
        return Inert(dtype, content)
    return struct.unpack((">" if order == ">" else "<") + _NUMBERS[code], content)[0]


def _encoded(text: str, encoding: str = "latin1", *rest: Any) -> bytes:
    return text.encode("latin1") if encoding in {"latin1", "latin-1"} else text.encode("utf-8")


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    return kind() if isinstance(kind, type) and issubclass(kind, Inert) else Inert(kind, base, state)


def _defaults(factory: Any = None, entries: Any = ()) -> Ordered:
    return Ordered(entries)


_REBUILDS: tuple[Callable[..., Any], ...] = (_tensor, _typed_tensor)
_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": Ordered,
    "collections.defaultdict": _defaults,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *rest: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *rest: tensor,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    **{f"{module}.set": set for module in ("builtins", "__builtin__")},
    **{f"{module}.frozenset": frozenset for module in ("builtins", "__builtin__")},
    **{f"{module}.complex": complex for module in ("builtins", "__builtin__")},
}
