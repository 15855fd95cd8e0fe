import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from weightscape.errors import ModelError
from weightscape.models.architecture import NAMES, Architecture, parse_architecture
from weightscape.models.families import Conv, Custom, Mlp, ResNet

ADAPTER = TypeAdapter(Architecture)


def test_a_bare_name_is_an_architecture_with_its_defaults():
    for name in NAMES:
        assert parse_architecture(name) == parse_architecture({"name": name})
        assert parse_architecture(name).name == name
    assert parse_architecture("conv8") == Conv(name="conv8")


def test_settings_survive_the_way_through_json():
    for settings in [
        Mlp(name="mlp", hidden=(3, 4), bias=True),
        ResNet(name="resnet18", width=0.5, stem="imagenet"),
        Custom(name="a.b.Net", depth=3),
    ]:
        assert ADAPTER.validate_json(ADAPTER.dump_json(settings)) == settings


def test_checked_settings_pass_unchanged():
    settings = Conv(name="conv4", width=2)
    assert parse_architecture(settings) is settings


def test_a_dotted_name_is_a_network_of_the_user_with_any_arguments():
    settings = parse_architecture({"name": "package.module.Net", "depth": 3, "act": {"name": "gelu"}})
    assert isinstance(settings, Custom)
    assert settings.arguments == {"depth": 3, "act": {"name": "gelu"}}


@pytest.mark.parametrize("value", ["conv9", {"name": "conv9"}])
def test_an_unknown_name_gets_the_closest_one_and_no_tags(value):
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(value)
    (problem,) = caught.value.errors()
    assert "Did you mean 'conv" in problem["msg"]
    assert "'conv9'" in problem["msg"]
    assert "tag" not in problem["msg"]


@pytest.mark.parametrize(
    "value", ["transformer", {}, {"hidden": [3]}, {"name": 3}, {"name": ["mlp"]}, 3, None, "a.b-c"]
)
def test_what_names_nothing_gets_the_list_of_names(value):
    with pytest.raises(ModelError) as caught:
        parse_architecture(value)
    assert all(name in str(caught.value) for name in NAMES)
    assert "dotted path" in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ModelError) as caught:
        parse_architecture({"name": "mlp", "hiden": [3], "hidden": [0], "bias": "perhaps"})
    message = str(caught.value)
    assert "'hiden'. Did you mean 'hidden'?" in message
    assert "hidden.0" in message
    assert "'perhaps'" in message


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_a_width_is_a_positive_number(width):
    with pytest.raises(ModelError, match="width"):
        parse_architecture({"name": "conv8", "width": width})


def test_width_never_leaves_a_layer_without_channels():
    assert Conv(name="conv8", width=1e-6).scaled(64) == 1
    assert Conv(name="conv8", width=0.5).scaled(64) == 32


def test_describing_architectures_loads_no_heavy_library():
    code = (
        "import sys; from weightscape.models.architecture import parse_architecture; parse_architecture('conv8');"
        "print(*{'torch', 'numpy', 'pandas', 'pyarrow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_family_tells_whether_its_code_is_foreign(tmp_path, monkeypatch):
    assert parse_architecture("mlp").fingerprint() is None
    (tmp_path / "own_networks.py").write_text("def Net(): return 1")
    monkeypatch.syspath_prepend(tmp_path)
    first = parse_architecture("own_networks.Net").fingerprint()
    (tmp_path / "own_networks.py").write_text("def Net(): return 2")
    assert first
    assert parse_architecture("own_networks.Net").fingerprint() != first
