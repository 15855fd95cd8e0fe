"""Networks of timm and torchvision, which are played by small modules of the same interface where they are absent."""

import sys

import pytest
import torch

from weightscape.errors import ModelError
from weightscape.models.architecture import parse_architecture
from weightscape.models.building import build_model
from weightscape.models.layers import layer_table

NETWORKS = """
from torch import nn

def small(num_classes, in_chans=3, width=4, **rest):
    assert rest in ({}, {"pretrained": False}), rest
    return nn.Sequential(nn.Conv2d(in_chans, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, num_classes))
def fails(**options): raise ValueError("of all things")
def maps(num_classes, in_chans): return nn.Conv2d(in_chans, num_classes, 1)
KNOWN = {"small": small, "fails": fails, "maps": maps}
"""
TIMM = (
    NETWORKS
    + """
def is_model(name): return name in KNOWN
def list_models(): return list(KNOWN)
def create_model(name, **arguments): return KNOWN[name](**arguments)
"""
)
TORCHVISION = (
    NETWORKS
    + """
def list_models(module): return list(KNOWN)
def get_model(name, **arguments): return KNOWN[name](**arguments)
"""
)


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    (tmp_path / "timm.py").write_text(TIMM)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("from torchvision import models")
    (tmp_path / "torchvision" / "models.py").write_text(TORCHVISION)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("timm", "torchvision", "torchvision.models")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_channels_classes_and_arguments_reach_the_library(library):
    model = build_model({"name": f"{library}:small", "width": 6}, shape=(3, 8, 8), classes=5, seed=1)
    assert model[0].out_channels == 6
    assert model[-1].out_features == 5
    again = build_model({"name": f"{library}:small", "width": 6}, shape=(3, 8, 8), classes=5, seed=1)
    assert torch.equal(model[0].weight, again[0].weight)


@pytest.mark.usefixtures("libraries")
def test_timm_takes_any_number_of_channels_and_torchvision_three():
    assert build_model("timm:small", shape=(1, 8, 8), classes=5)[0].in_channels == 1
    with pytest.raises(ModelError, match=r"images of 3 channels, received 1"):
        build_model("torchvision:small", shape=(1, 8, 8), classes=5)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("smal", {}, "no image classifier named 'smal'. Did you mean 'small'"),
        ("zzzz", {}, r"no image classifier named 'zzzz'. See \w+'s list_models"),
        ("fails", {}, "of all things"),
        ("small", {"widht": 3}, "failed with the arguments"),
    ],
)
def test_what_the_library_cannot_build_is_refused_with_the_reason(library, name, arguments, message):
    with pytest.raises(ModelError, match=message):
        build_model({"name": f"{library}:{name}", **arguments}, shape=(3, 8, 8), classes=5)


@pytest.mark.usefixtures("libraries")
def test_what_is_no_classifier_is_refused():
    with pytest.raises(ModelError, match=r"logits of shape \(2, 5\)"):
        build_model("timm:maps", shape=(3, 8, 8), classes=5)


def test_an_absent_library_is_named_before_anything_starts(monkeypatch):
    """The fingerprint is what planning asks for."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    settings = parse_architecture("timm:resnet26")
    with pytest.raises(
        ModelError, match=r"needs timm, which is not installed. Run: pip install 'weightscape\[models\]'"
    ):
        settings.fingerprint()
    with pytest.raises(ModelError, match="not installed"):
        build_model(settings, shape=(3, 8, 8), classes=5)


@pytest.mark.usefixtures("libraries")
def test_the_key_names_the_version_of_the_library(monkeypatch):
    """Another version may define another network under the same name."""
    assert parse_architecture("timm:small").fingerprint() == "timm of unknown version"
    for installed in ("1.0.30", "1.0.31"):
        monkeypatch.setattr("weightscape.source.version", {"timm": installed}.get)
        assert parse_architecture("timm:small").fingerprint() == f"timm {installed}"


@pytest.mark.parametrize("argument", [{"pretrained": True}, {"weights": "DEFAULT"}])
def test_pretrained_weights_are_refused_because_the_seed_decides(argument):
    with pytest.raises(ModelError, match="the seed decides the first weights"):
        parse_architecture({"name": "timm:resnet26", **argument})
    assert parse_architecture({"name": "timm:resnet26", "pretrained": False}).arguments == {"pretrained": False}


@pytest.mark.parametrize("name", ["timm", "timm:", "tim:resnet", "timm:a b", "keras:resnet"])
def test_other_prefixes_are_not_libraries(name):
    with pytest.raises(ModelError, match="expected the name of an architecture"):
        parse_architecture(name)


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_resnets_compute_what_torchvision_computes(name):
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    oracle = torchvision.models.get_model(name).eval()
    model = build_model({"name": name, "stem": "imagenet"}, shape=(3, 64, 64), classes=1000).eval()
    model.load_state_dict(oracle.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), oracle(images))


@pytest.mark.oracle
@pytest.mark.slow
def test_networks_of_the_real_timm_are_built_for_the_data():
    pytest.importorskip("timm", exc_type=ImportError)
    model = build_model(
        {"name": "timm:vit_tiny_patch16_224", "img_size": 32, "patch_size": 4}, shape=(1, 32, 32), classes=7
    )
    assert layer_table(model, shape=(1, 32, 32)).layers.set_index("name").output["head"] == "7"
