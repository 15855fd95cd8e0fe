import pytest
import torch
from safetensors import safe_open
from torch import nn

from weightscape.errors import StoreError
from weightscape.weights.files import load_weights, save_weights


def round_trip(folder, weights):
    save_weights(folder / "weights.safetensors", weights)
    return load_weights(folder / "weights.safetensors")


def assert_same(loaded, weights):
    assert list(loaded) == list(weights)
    for name, tensor in weights.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.randn(3, 4).T,
        torch.randn(6)[::2],
        torch.randn(1, 3).expand(4, 3),
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(3).bfloat16(),
        torch.randn(3).half(),
        torch.randn(3).double(),
        torch.tensor(5),
        torch.tensor([True, False]),
        torch.empty(0),
        torch.empty(2, 0, 3),
        torch.randn(2, requires_grad=True),
    ],
    ids=[
        "contiguous",
        "transposed",
        "strided",
        "expanded",
        "channels_last",
        "bfloat16",
        "float16",
        "float64",
        "counter",
        "mask",
        "empty",
        "empty_axis",
        "parameter",
    ],
)
def test_a_tensor_comes_back_bit_for_bit(tmp_path, tensor):
    assert_same(round_trip(tmp_path, {"w": tensor}), {"w": tensor.detach()})


def test_the_order_of_the_tensors_is_kept(tmp_path):
    weights = {name: torch.randn(2) for name in ("z", "a", "layer.10", "layer.2")}
    assert_same(round_trip(tmp_path, weights), weights)


def test_tied_tensors_are_stored_once_and_come_back_tied(tmp_path):
    module = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 50, bias=False), nn.BatchNorm1d(50))
    module[1].weight = module[0].weight
    loaded = round_trip(tmp_path, module.state_dict())
    assert_same(loaded, module.state_dict())
    assert loaded["0.weight"] is loaded["1.weight"]
    with safe_open(tmp_path / "weights.safetensors", framework="pt") as file:
        assert len({"0.weight", "1.weight"} & set(file.keys())) == 1


@pytest.mark.parametrize(
    "weights",
    [
        {"all": (base := torch.arange(6.0)), "head": base[:2], "same_start": base[:6].view(2, 3)},
        {"matrix": (square := torch.randn(3, 3)), "transposed": square.T},
        {"float": (bits := torch.ones(2)), "integer": bits.view(torch.int32)},
        {"empty": torch.empty(0), "empty_too": torch.empty(0)},
    ],
    ids=["views", "transposed", "reinterpreted", "empty"],
)
def test_tensors_that_share_storage_without_being_equal_are_not_taken_for_tied(tmp_path, weights):
    assert_same(round_trip(tmp_path, weights), weights)


def test_saving_leaves_the_weights_alone(tmp_path):
    tensor = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", {"w": tensor})
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_a_file_can_be_replaced_by_what_was_read_from_it(tmp_path):
    weights = {"w": torch.randn(100)}
    loaded = round_trip(tmp_path, weights)
    assert_same(round_trip(tmp_path, loaded), weights)
    assert_same(loaded, weights)


def test_files_of_others_can_be_read(tmp_path):
    from safetensors.torch import save_file

    weights = {"b": torch.randn(2), "a": torch.randn(3)}
    save_file(weights, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert_same(dict(sorted(loaded.items())), dict(sorted(weights.items())))


def test_a_failed_write_keeps_the_old_file_and_leaves_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": torch.zeros(2)})

    def half_done(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("weightscape.weights.files.save_file", half_done)
    with pytest.raises(StoreError, match="disk full"):
        save_weights(path, {"w": torch.ones(2)})
    assert torch.equal(load_weights(path)["w"], torch.zeros(2))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": torch.zeros(20)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"w\.safetensors cannot be read"):
        load_weights(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"absent\.safetensors cannot be read"):
        load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(StoreError, match="cannot be read"):
        load_weights(tmp_path)
    with pytest.raises(StoreError, match=r"w\.safetensors cannot be written"):
        save_weights(tmp_path / "no" / "w.safetensors", {"w": torch.zeros(1)})


def test_a_state_dict_that_torch_saved_is_read(tmp_path):
    weights = {"b": torch.randn(2, 3), "a": torch.arange(3)}
    torch.save(weights, tmp_path / "weights.pt")
    assert_same(load_weights(tmp_path / "weights.pt"), weights)


class Executed:
    def __reduce__(self):
        return pytest.fail, ("a file of weights was executed",)


@pytest.mark.parametrize("content", [{"w": Executed()}, [torch.zeros(1)], Executed(), {1: torch.zeros(1)}])
def test_a_pickle_without_tensors_by_name_is_refused_and_never_executed(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(StoreError, match=r"weights\.pt .*save"):
        load_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("length", [0, 1, 100, 400])
def test_a_truncated_pickle_is_named(tmp_path, length):
    torch.save({"w": torch.zeros(100)}, tmp_path / "weights.pt")
    (tmp_path / "weights.pt").write_bytes((tmp_path / "weights.pt").read_bytes()[:length])
    with pytest.raises(StoreError, match=r"weights\.pt cannot be read"):
        load_weights(tmp_path / "weights.pt")


def test_headers_of_every_length_are_read(tmp_path):
    # safetensors begins with the length of its header; with 0x80 as its first byte it begins like a pickle.
    first_bytes = set()
    for length in range(1, 400, 4):
        weights = {"w" * length: torch.arange(3.0)}
        save_weights(tmp_path / "w.safetensors", weights)
        first_bytes.add((tmp_path / "w.safetensors").read_bytes()[0])
        assert torch.equal(load_weights(tmp_path / "w.safetensors")["w" * length], weights["w" * length])
    assert 0x80 in first_bytes
