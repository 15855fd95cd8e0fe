"""Crafted pickles are refused, and nothing in them runs."""

from __future__ import annotations

import builtins
import codecs
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightscape.data.unpickling import ByteArray, restricted_load
from weightscape.errors import DataError

from .packagings import pickled


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class WithState(Calls):
    def __reduce__(self) -> Any:
        return (*self.call, {"content": b"changed"})


def crafted(folder: Path) -> dict[str, bytes]:
    mark = folder / "executed"
    code = f"open({str(mark)!r}, 'w').close()"
    array = np.zeros((2, 3072), np.uint8)
    inner = Calls(builtins.getattr, Calls(builtins.__import__, "os"), "system")
    held = {
        "os.system": Calls(os.system, f"touch {mark}"),
        "builtins.eval": Calls(builtins.eval, code),
        "builtins.exec": Calls(builtins.exec, code),
        "subprocess": Calls(subprocess.check_call, ["touch", str(mark)]),
        "nested": Calls(builtins.map, inner, [f"touch {mark}"]),
        "in a list": [array, [{"labels": Calls(os.system, f"touch {mark}")}]],
        "as a key": {Calls(os.system, f"touch {mark}"): 1},
        "objects in an array": np.array([Calls(os.system, f"touch {mark}")], dtype=object),
        "a numpy function": Calls(np.fromfile, str(mark)),
        "a codec": Calls(codecs.encode, "cGF5bG9hZA==", "rot13"),
        "a file": Calls(io.FileIO, str(mark), "w"),
        "state for a class": WithState(ByteArray),
        "floats": np.zeros(3),
        "a set": {1, 2},
    }
    return {f"{name}, protocol {protocol}": pickle.dumps(value, protocol) for name, value in held.items()
            for protocol in (0, 2, 4)}  # fmt: skip


def test_nothing_is_executed(tmp_path: Path) -> None:
    for name, content in crafted(tmp_path).items():
        with pytest.raises(DataError, match=r"nothing of it was executed|damaged") as caught:
            restricted_load(content, "batch")
        assert "batch" in str(caught.value), name
        assert not (tmp_path / "executed").exists(), name


HEAD = b"\x80\x02"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
BYTES = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"cos\nsystem\nU\x05false\x85R.",
        HEAD + b"(S'false'\nios\nsystem\n.",
        HEAD + b"(cos\nsystem\nS'false'\no.",
        HEAD + b"P0\n.",
        HEAD + b"U\x01aQ.",
        HEAD + b"\x82\x01.",  # the registry of extensions
        HEAD + b"cnumpy\nndarray\n)R.",  # the array class called
        HEAD + b"cnumpy\nndarray\n)\x81.",
        HEAD + b"cnumpy\ndtype\n}U\x09_functionU\x01asb.",  # a function changed
        HEAD + b"cnumpy\ndtype\nN}U\x09_functionU\x01as\x86b.",
        HEAD + ARRAY + b"(K\x01(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft" + BYTES + b"\x89U\x01at" + b"b.",  # a huge shape
        HEAD + ARRAY + b"(K\x01(J\xff\xff\xff\xfft" + BYTES + b"\x89U\x00tb.",  # a negative one
        HEAD + ARRAY + b"(K\x01(K\x01t" + BYTES + b"\x88U\x01atb.",  # column-major
        HEAD + ARRAY + b"(K\x01(K\x01tU\x02u1\x89U\x01atb.",  # no type
        HEAD + b"T\xff\xff\xff\x7fabc.",  # a text of 2 GiB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # bytes of 8 EiB
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].",  # a frame of 8 EiB
        HEAD + b"]r\xff\xff\xff\xff.",  # a memo of 4 G entries
        HEAD + b"]p4294967295\n.",
        HEAD + b"\x8a\xff" + b"\x7f" * 255 + b".",  # a number of 2,040 bits
        HEAD + b"L" + b"9" * 5000 + b"L\n.",
        HEAD + b"h\x05.",
        HEAD + b"0.",
        HEAD,
        b"",
        b"\x80\x09N.",
    ],
)
def test_crafted_instructions_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="batch"):
        restricted_load(content, "batch")


def test_many_calls_cannot_fill_the_memory() -> None:
    text = b"a" * 200
    call = b"c_codecs\nencode\nh\x00U\x06latin1\x86R0"
    with pytest.raises(DataError):
        restricted_load(HEAD + b"X" + len(text).to_bytes(4, "little") + text + b"q\x00" + call * 50 + b"N.", "batch")


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_every_truncation_is_refused(cut: int) -> None:
    content = pickled({"data": np.arange(24, dtype=np.uint8).reshape(2, 12), "labels": [1, 2], "name": "x" * 300})
    if cut < len(content):
        with pytest.raises(DataError):
            restricted_load(content[:cut], "batch")


def test_plain_data_and_arrays_of_bytes_are_read() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 12)
    found = restricted_load(pickled({"data": array, "labels": [1, 2], "label_names": ["a", "b"]}), "batch")
    assert found[b"labels"] == [1, 2]
    assert found[b"label_names"] == [b"a", b"b"]
    assert found[b"data"] == ByteArray((2, 12), array.tobytes())
