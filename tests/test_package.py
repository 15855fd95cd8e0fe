"""The top of the package: lazy, complete, and without torch until it is used."""

from __future__ import annotations

import subprocess
import sys

import weightscape


def test_every_public_name_is_what_its_home_defines() -> None:
    for name in weightscape.__all__:
        assert getattr(weightscape, name) is not None
        assert name in dir(weightscape)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, weightscape; print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(weightscape, "no_such_name")
