"""Measures by name: listed without torch, found with suggestions, registered once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.similarity.representations import MEASURES
from weightscape.errors import DataError, WeightscapeError
from weightscape.similarity import measure as registry
from weightscape.similarity.measure import Measure, find_measure, measure, measure_names
from weightscape.similarity.names import HOMES, MeasureName

FOLDER = Path(registry.__file__).parent / "measures"


def test_names_are_listed_without_loading_torch() -> None:
    code = (
        "import sys; from weightscape.similarity.measure import measure_names; "
        "print(len(measure_names()), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(len(get_args(MeasureName))), "False", "False"]


def test_the_lists_of_names_agree_with_what_is_registered() -> None:
    assert set(get_args(MeasureName)) == set(HOMES) == set(measure_names())
    assert {found.name for found in MEASURES} == set(measure_names())
    assert {f"{home}.py" for home in HOMES.values()} == {
        path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py"
    }


def test_declarations_include_what_they_imply() -> None:
    assert "unit-permutation" in find_measure("linear-cka").invariances
    assert {"orthogonal", "isotropic-scale"} <= find_measure("mean-cca").invariances
    assert find_measure("procrustes").best == 0
    assert find_measure("semi-match").best == 1
    assert not find_measure("linear-cka-debiased").biased


def test_an_unknown_name_is_answered_with_the_closest_one() -> None:
    with pytest.raises(DataError, match="Did you mean 'linear-cka'"):
        find_measure("linear_cka")
    with pytest.raises(DataError, match="decorated with @measure"):
        find_measure("weightscape.step.Step")
    with pytest.raises(DataError, match="no_such_module"):
        find_measure("no_such_module.cosine")


def test_a_measure_of_ones_own_is_found_at_its_dotted_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_measure.py").write_text(
        "from weightscape.similarity.measure import measure\n"
        "@measure('mean-difference', kind='distance', high=float('inf'), sums='activations', cost='O(n d)',\n"
        "         source='here')\n"
        "def mean_difference(first, second, *, power=1):\n"
        "    '''Distance of the means.'''\n"
        "    return float((first.mean() - second.mean()).abs() ** power)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = find_measure("own_measure.mean_difference")
    assert isinstance(found, Measure)
    assert found(torch.zeros(3, 2), torch.full((3, 5), 2.0), power=2) == 4.0
    assert found.summary == "Distance of the means."
    del registry._REGISTERED["mean-difference"]


def test_a_name_is_used_once_and_declarations_are_checked() -> None:
    with pytest.raises(WeightscapeError, match="used once"):
        measure("linear-cka", cost="", source="")(lambda first, second: 0.0)
    with pytest.raises(WeightscapeError, match="Did you mean 'orthogonal'"):
        measure("mine", invariances=["ortogonal"], cost="", source="")  # type: ignore[list-item]


def test_what_a_measure_is_not_computed_from_is_refused() -> None:
    with pytest.raises(DataError, match="'pwcca' is computed from moments"):
        find_measure("pwcca").function_of("grams")
    with pytest.raises(DataError, match="computed from grams or activations"):
        find_measure("linear-cka-debiased").function_of("moments")


def test_a_result_that_is_not_a_number_never_leaves_a_measure() -> None:
    with pytest.raises(DataError, match="0/0"):
        find_measure("linear-cka").clipped(float("nan"))
    assert find_measure("linear-cka").clipped(1 + 1e-15) == 1.0
