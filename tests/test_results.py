from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from weightscape.results import Result


@dataclass(frozen=True)
class Answer(Result):
    accuracy: float
    count: int
    method: str
    converged: bool
    note: str | None
    weights: dict
    table: object


ANSWER = Answer(0.5, 3, "gmt", True, None, {"w": torch.zeros(2)}, pd.DataFrame({"a": [1]}))


def test_scalars_are_metrics_in_their_order_and_artefacts_are_not():
    assert list(ANSWER.metrics().items()) == [
        ("accuracy", 0.5),
        ("count", 3),
        ("method", "gmt"),
        ("converged", True),
        ("note", None),
    ]


def test_a_table_of_one_row_holds_the_metrics():
    frame = ANSWER.to_frame()
    assert len(frame) == 1
    assert frame.iloc[0].to_dict() == ANSWER.metrics()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (torch.tensor(4), 4),
    ],
)
def test_numbers_of_numpy_and_torch_are_metrics_too(value, plain):
    @dataclass(frozen=True)
    class One(Result):
        value: object

    metric = One(value).metrics()["value"]
    assert metric == plain
    assert type(metric) is type(plain)


@pytest.mark.parametrize("value", [np.zeros(2), torch.zeros(1), [1], (1, 2), {"a": 1}])
def test_what_has_an_extent_is_no_metric(value):
    @dataclass(frozen=True)
    class One(Result):
        value: object

    assert One(value).metrics() == {}


def test_results_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ANSWER.accuracy = 1.0


def test_printed_a_result_names_the_sizes_of_tables_and_weights():
    assert repr(ANSWER) == (
        "Answer(accuracy=0.5, count=3, method='gmt', converged=True, note=None, weights=<1 tensor>, "
        "table=<1 x 1 DataFrame>)"
    )


def test_a_result_that_says_how_it_is_printed_is_printed_so():
    @dataclass(frozen=True)
    class Spoken(Answer):
        def __repr__(self):
            return "an answer"

    @dataclass(frozen=True)
    class Heir(Spoken):
        pass

    fields = vars(ANSWER)
    assert (repr(Spoken(**fields)), repr(Heir(**fields))) == ("an answer", "an answer")
