"""The published networks of arXiv 2110.14633: what folders say of them, and the log beside their weights.

Folders are ``MODEL/DATASET/in{i}-gn{g}/{iteration}.pt``; for one network the level of the data set is missing. Nothing
here loads torch. The pickles of that system's results are not read: they are code, and hold tensors of a GPU.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.errors import StoreError

if TYPE_CHECKING:
    import pandas

_MODELS: dict[str, Any] = {"nbntiny10": {"name": "tiny10", "batch_norm": False}, "resnet20": "resnet20_w1"}
_DATA = {"fashion": "fashion_mnist"}
_INPUTS: dict[str, dict[str, Any]] = {
    "cifar10": {"normalise": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}},
    "cifar100": {"normalise": {"mean": [0.5071, 0.4867, 0.4408], "std": [0.2675, 0.2565, 0.2761]}},
    "mnist": {"size": 32, "normalise": {"mean": [0.1307], "std": [0.3081]}},
    "fashion_mnist": {"size": 32, "normalise": {"mean": [0.1307], "std": [0.3081]}},
}
"""What networks saw there; the standard deviations of CIFAR-10 are another one's than those of its pixels."""
# What is called validation there is the test split, less the images that fill no batch of 128.
_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "val_loss": "test_loss",
    "val_accuracy": "test_accuracy",
}


def told_by_folders(run: str | Path) -> tuple[Any | None, dict[str, Any] | None]:
    """Return the model and the data that the folders above a run name, None for what they do not.

    The data are normalised and resized as for the training there.

    >>> told_by_folders("model_weights/LeNet/MNIST/in0-gn0")
    ('lenet', {'name': 'mnist', 'size': 32, 'normalise': {'mean': [0.1307], 'std': [0.3081]}})
    >>> told_by_folders("model_weights/ResNet20_w1/in0-gn0")
    ('resnet20_w1', None)
    """
    parents = Path(run).absolute().parents
    above = [folder.name for folder in parents[:2]]
    data = _known_data(above[0]) if above else None
    model = _known_model(above[1 if data is not None and len(above) > 1 else 0]) if above else None
    return model, None if data is None else published_data(data)


def published_data(name: str) -> dict[str, Any]:
    """Return a data set in the form in which networks saw it there."""
    return {"name": name, **_INPUTS.get(name, {})}


def _known_model(folder: str) -> Any | None:
    from weightscape.models.architecture import NAMES

    plain = _plain(folder)
    return _MODELS.get(plain) or next((name for name in NAMES if _plain(name) == plain), None)


def _known_data(folder: str) -> str | None:
    from weightscape.data.catalogue import names

    plain = _plain(folder)
    return _DATA.get(plain) or next((name for name in names() if _plain(name) == plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_log(path: str | Path) -> pandas.DataFrame:
    """Return the log of a run, one row per epoch, in the columns that training here has.

    Args:
        path: ``training_log.csv``: ``train_accuracy``, ``train_loss``, ``val_accuracy``, ``val_loss``.

    Returns:
        ``epoch`` (done, from 1), ``train_loss``, ``train_accuracy``, ``test_loss``, ``test_accuracy``. All are means
        of batches; training counts augmented images at the weights that saw them. What the file calls validation is
        the official test split, of which 16 images of 10,000 fill no batch.

    Raises:
        StoreError: If the file cannot be read, or is no such log.
    """
    import pandas

    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, lacking = list(reader), sorted(set(_COLUMNS) - set(reader.fieldnames or _COLUMNS))
        if lacking:
            raise StoreError(f"{path} is no training log: it has no column {', '.join(lacking)}.")
        numbers = [{new: float(row[old]) for old, new in _COLUMNS.items()} for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path} cannot be read: {error}.") from error
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path} is no training log: expected numbers in each row and column ({error}).") from error
    finite = [{name: value if math.isfinite(value) else math.nan for name, value in row.items()} for row in numbers]
    table = pandas.DataFrame(finite, columns=list(_COLUMNS.values()))
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table


def no_log() -> pandas.DataFrame:
    """Return the log of a run without one: the columns, and no rows."""
    import pandas

    floats = {name: pandas.Series(dtype="float64") for name in _COLUMNS.values()}
    return pandas.DataFrame({"epoch": pandas.Series(dtype="int64"), **floats})
