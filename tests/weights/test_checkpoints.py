"""Files of other people's training loops: read whole, read lazily, never executed."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightscape.errors import StoreError
from weightscape.weights.archives import Unfinished, open_archive
from weightscape.weights.checkpoints import read_checkpoint
from weightscape.weights.files import load_weights


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3, bias=False)
        self.register_buffer("transient", torch.zeros(3), persistent=False)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).mean((2, 3)))


MODEL = Network()
STATE = MODEL.state_dict()
MODEL(torch.randn(4, 1, 5, 5)).sum().backward()
OPTIMISER = torch.optim.Adam(MODEL.parameters())
OPTIMISER.step()
ARGUMENTS = argparse.Namespace(lr=0.1, seed=4, data=pathlib.Path("x"), device=torch.device("cpu"))


def renamed(prefix):
    return {prefix + name: tensor for name, tensor in STATE.items()}


CONTENTS = {
    "state dict": STATE,
    "plain dict": dict(STATE),
    "model": {"model": STATE, "optimizer": OPTIMISER.state_dict(), "epoch": 3},
    "state_dict": {"epoch": 3, "arch": "x", "state_dict": STATE, "best_acc1": torch.tensor(0.3)},
    "model_state_dict": {"model_state_dict": STATE, "optimizer_state_dict": OPTIMISER.state_dict()},
    "net": {"net": STATE, "acc": 91.2, "epoch": 7},
    "nested": {"state": {"deep": {"network": STATE}}, "rng_state": torch.get_rng_state()},
    "unknown name": {"my_resnet": STATE, "scheduler": {"gamma": torch.tensor(1.0)}},
    "with a moving average": {"model": STATE, "ema": {name: tensor * 2 for name, tensor in STATE.items()}},
    "DataParallel": renamed("module."),
    "compiled": renamed("_orig_mod."),
    "compiled DataParallel": {"model": renamed("_orig_mod.module.")},
    "Lightning": {"state_dict": renamed("model."), "pytorch-lightning_version": "2.6", "epoch": 3, "global_step": 9},
    "namespace": {"model": STATE, "args": ARGUMENTS, "epoch": numpy.int64(3)},
    "an object of a class": {"model": STATE, "config": collections.Counter(a=1), "path": pathlib.Path("a/b")},
    "the module itself": MODEL,
    "the module beside others": {"model": nn.DataParallel(MODEL), "epoch": 3},
    "numbers beside the tensors": {**STATE, "epoch": 3},
}


@pytest.mark.parametrize("form", ["zip", "zip, protocol 4", "pickles", "pickles, protocol 4"])
@pytest.mark.parametrize("content", CONTENTS)
def test_the_weights_are_found_whatever_lies_around_them(tmp_path, monkeypatch, content, form):
    # The old format holds the source of each class; torch looks for it, which takes seconds.
    monkeypatch.setattr("inspect.getsourcelines", lambda kind: (["source of a class"], 0))
    torch.save(
        CONTENTS[content],
        tmp_path / "x.pt",
        _use_new_zipfile_serialization=form.startswith("zip"),
        pickle_protocol=4 if form.endswith("4") else 2,
    )
    loaded = load_weights(tmp_path / "x.pt")
    assert list(loaded) == list(STATE)
    for name, tensor in STATE.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor), name


TENSORS = {
    **{str(dtype): torch.arange(6).to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.uint8)},
    **{str(dtype): torch.arange(6).to(dtype) for dtype in (torch.int8, torch.int16, torch.int32, torch.complex64)},
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3),
    "empty": torch.empty(2, 0, 3),
    "transposed": torch.randn(3, 4).T,
    "strided": torch.randn(20)[3::2],
    "expanded": torch.randn(1, 3).expand(4, 3),
    "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "parameter": nn.Parameter(torch.randn(2)),
    "float8": torch.randn(4).to(torch.float8_e4m3fn),
    "uint16": torch.arange(4).to(torch.uint16),
}


@pytest.mark.oracle
@pytest.mark.parametrize("zipped", [True, False])
def test_every_kind_of_tensor_is_what_torch_reads(tmp_path, zipped):
    kinds = TENSORS if zipped else {name: TENSORS[name] for name in TENSORS.keys() - {"float8", "uint16"}}
    torch.save(kinds, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    loaded, oracle = load_weights(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=True)
    assert list(loaded) == list(oracle)
    for name, tensor in oracle.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape), name
        assert loaded[name].stride() == tensor.stride(), name
        numbers = [value.contiguous().reshape(-1).view(torch.uint8) for value in (loaded[name], tensor.detach())]
        assert torch.equal(*numbers), name


def test_tied_tensors_stay_tied_and_views_share_their_storage(tmp_path):
    base = torch.randn(10)
    torch.save({"a": base, "tied": base, "part": base[2:5]}, tmp_path / "x.pt")
    loaded = load_weights(tmp_path / "x.pt")
    assert loaded["a"] is loaded["tied"]
    assert loaded["part"].data_ptr() == loaded["a"][2:].data_ptr()


def test_reading_a_header_reads_no_tensors_and_writing_to_weights_leaves_the_file(tmp_path, monkeypatch):
    torch.save({"model": STATE}, tmp_path / "x.pt")
    before = (tmp_path / "x.pt").read_bytes()
    monkeypatch.setattr(torch.UntypedStorage, "from_file", None)
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in STATE.items()}
    monkeypatch.undo()
    for tensor in checkpoint.load().values():
        tensor.zero_()
    assert (tmp_path / "x.pt").read_bytes() == before


@pytest.mark.skipif(not pathlib.Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_a_file_that_a_loop_may_write_over_is_read_and_an_old_one_mapped(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(1000)}, path)
    weights = load_weights(path)
    path.write_bytes(b"")  # in place, as torch.save does
    assert weights["w"].sum() == 1000
    torch.save({"w": torch.ones(1000)}, path)
    os.utime(path, (1e9, 1e9))
    weights = load_weights(path)
    assert str(path) in pathlib.Path("/proc/self/maps").read_text()
    assert weights["w"].sum() == 1000


def test_safetensors_and_a_header_made_by_hand(tmp_path):
    save_file({name: tensor.clone() for name, tensor in STATE.items()}, tmp_path / "x.safetensors")
    loaded = read_checkpoint(tmp_path / "x.safetensors").load()
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())


def test_what_is_known_beside_the_weights_is_read(tmp_path):
    torch.save(CONTENTS["namespace"], tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert (found.epoch, found.iteration, found.settings) == (3, None, {"lr": 0.1, "seed": 4})
    torch.save(
        {**CONTENTS["Lightning"], "hyper_parameters": {"lr": 0.1, "optim": {"name": "sgd"}}}, tmp_path / "y.ckpt"
    )
    found = read_checkpoint(tmp_path / "y.ckpt")
    assert (found.epoch, found.iteration) == (None, 9)  # Lightning's epoch 3 may be done or begun: the fourth
    assert found.settings == {"lr": 0.1, "optim": {"name": "sgd"}}


def test_the_network_decides_what_is_taken_off_the_names(tmp_path):
    expected = {name: tuple(tensor.shape) for name, tensor in STATE.items()}
    extra = {"criterion.weight": torch.ones(3), **renamed("student.model.")}
    torch.save({"state_dict": extra}, tmp_path / "x.ckpt")
    assert read_checkpoint(tmp_path / "x.ckpt", expected=expected).shapes == expected
    wrapped = {f"module.{name}": shape for name, shape in expected.items()}
    torch.save(renamed("module."), tmp_path / "y.pt")
    assert read_checkpoint(tmp_path / "y.pt", expected=wrapped).shapes == wrapped


def test_two_networks_in_one_file_are_told_apart(tmp_path):
    torch.save({"generator": STATE, "critic": {"w": torch.ones(2)}}, tmp_path / "x.pt")
    with pytest.raises(StoreError, match=r"'generator' \(8 tensors\), 'critic' \(1 tensors\).*member='generator'"):
        read_checkpoint(tmp_path / "x.pt")
    assert read_checkpoint(tmp_path / "x.pt", member="critic").shapes == {"w": (2,)}
    with pytest.raises(StoreError, match="Did you mean 'generator'"):
        read_checkpoint(tmp_path / "x.pt", member="generater")


def test_an_ensemble_in_a_list_has_its_members_by_number(tmp_path):
    torch.save({"models": [STATE, {name: tensor + 1 for name, tensor in STATE.items()}]}, tmp_path / "x.pt")
    second = read_checkpoint(tmp_path / "x.pt", member="models.1").load()
    assert torch.equal(second["head.weight"], STATE["head.weight"] + 1)


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "attack",
    [
        lambda mark: Malicious(os.system, f"touch {mark}"),
        lambda mark: Malicious(eval, f"open({str(mark)!r}, 'w')"),
        lambda mark: Malicious(exec, f"open({str(mark)!r}, 'w')"),
        lambda mark: Malicious(getattr, "text", "format"),
        lambda mark: Malicious(pathlib.Path.touch, mark),
        lambda mark: Malicious(torch._tensor._rebuild_from_type_v2, os.system, dict, (f"touch {mark}",), {}),
        lambda mark: collections.OrderedDict({"x": Malicious(open, str(mark), "w")}),
    ],
    ids=["system", "eval", "exec", "getattr", "method", "by way of torch", "nested"],
)
def test_a_crafted_file_is_never_executed(tmp_path, attack, zipped):
    mark = tmp_path / "executed"
    content = {"model": STATE, "extra": attack(mark)}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_weights(tmp_path / "x.pt")
    assert not mark.exists()
    assert torch.equal(loaded["conv.weight"], STATE["conv.weight"])


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'touch MARK'\ntR.",
        b"(S'touch MARK'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch MARK'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0atouch MARK\x85R.",
        b'c__builtin__\neval\n(S\'open("MARK", "w")\'\ntR.',
        b"csubprocess\nPopen\n(S'touch MARK'\nI0\nNNNNNI01\ntR.",
        b"cweightscape.weights.files\nsave_weights\n(S'MARK'\n}tR.",
    ],
    ids=["reduce", "inst", "obj", "stack global", "eval", "popen", "own code"],
)
def test_a_pickle_written_by_hand_is_never_executed(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.pt", "w") as file:
        file.writestr("archive/data.pkl", code)
    with pytest.raises(StoreError, match=r"x\.pt"):
        load_weights("x.pt")
    assert os.listdir() == ["x.pt"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_anywhere_is_called_unfinished_or_damaged(tmp_path, zipped):
    torch.save({"model": STATE, "args": ARGUMENTS}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "x.pt").read_bytes()
    for length in range(0, len(whole), 397):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(StoreError, match=r"cut\.pt cannot be read"):
            load_weights(tmp_path / "cut.pt")
    for length in (0, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(Unfinished):
            open_archive(tmp_path / "cut.pt")


@pytest.mark.parametrize("seed", range(40))
def test_damage_never_ends_in_anything_but_an_error_of_this_package(tmp_path, seed):
    # Numbers may change without notice (a checksum of the whole file is the key's business); the reader must survive.
    torch.save({"model": STATE, "args": ARGUMENTS}, tmp_path / "x.pt", _use_new_zipfile_serialization=seed % 2 == 0)
    content = bytearray((tmp_path / "x.pt").read_bytes())
    generator = numpy.random.default_rng(seed)
    for position in generator.integers(len(content), size=20):
        content[position] = generator.integers(256)
    (tmp_path / "x.pt").write_bytes(content)
    with contextlib.suppress(StoreError):
        for tensor in load_weights(tmp_path / "x.pt").values():
            tensor.sum()


def tar_of_2016(path):
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("storages"))


def script(path):
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def arrays(path):
    with path.open("wb") as file:
        numpy.savez(file, w=numpy.zeros(2))


def plain_pickle(path):
    path.write_bytes(pickle.dumps({"w": 1}))


def huge_header(path):
    path.write_bytes(struct.pack("<Q", 10**15) + b"{}" + b" " * 20)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (tar_of_2016, "tar archive"),
        (script, "TorchScript"),
        (arrays, "not one of torch"),
        (plain_pickle, "torch.save did not write"),
        (huge_header, "larger than"),
        (lambda path: path.write_bytes(b"hello, I am a text file"), "neither"),
        (lambda path: torch.save({"w": torch.eye(3).to_sparse()}, path), "no tensors by name"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(tmp_path, write, message):
    path = tmp_path / "x.tar"
    write(path)
    with pytest.raises(StoreError, match=message):
        read_checkpoint(path)


def test_published_networks_are_read(shared_data):
    folder = shared_data / "reference"
    found = read_checkpoint(folder / "resnet20_w1_cifar10" / "in0-gn0" / "110000.pt")
    assert found.archive.format == "pickles"
    oracle = torch.load(found.archive.path, weights_only=True, map_location="cpu")
    loaded = found.load()
    assert list(loaded) == list(oracle)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in oracle.items())
