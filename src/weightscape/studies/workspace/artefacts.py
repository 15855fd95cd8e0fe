"""How each type of artefact is written to a folder and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weightscape.errors import StoreError


def save_artefact(kind: str, value: Any, folder: Path, field: str) -> None:
    """Write one field of a result into a folder.

    Raises:
        StoreError: If there is no way to write this type.
    """
    if kind == "Table":
        value.to_parquet(folder / f"{field}.parquet", index=False)
    elif kind == "Weights":
        from weightscape.weights.files import save_weights

        save_weights(folder / f"{field}.safetensors", value)
    elif kind == "Trajectory":
        value.save(folder / field)
    elif kind == "Permutation":
        value.save(folder / f"{field}.safetensors")
    else:
        raise StoreError(f"A field of type {kind!r} cannot be stored; known: Table, Weights, Trajectory, Permutation.")


def load_artefact(kind: str, folder: Path, field: str) -> Any:
    """Read one field of a result from a folder; trajectories are opened without reading their weights.

    Raises:
        StoreError: If there is no way to read this type or the file is missing or damaged.
    """
    if kind == "Table":
        return load_table(folder / f"{field}.parquet")
    if kind == "Weights":
        from weightscape.weights.files import load_weights

        return load_weights(folder / f"{field}.safetensors")
    if kind == "Trajectory":
        from weightscape.weights.trajectory import Trajectory

        return Trajectory.open(folder / field)
    if kind == "Permutation":
        from weightscape.symmetry.permutation import Permutation

        return Permutation.load(folder / f"{field}.safetensors")
    raise StoreError(f"A field of type {kind!r} cannot be read by this version.")


def load_table(path: Path) -> Any:
    """Read a Parquet file as a data frame.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    return read_arrow(path).to_pandas()


def read_arrow(path: Path) -> Any:
    """Read a Parquet file as an Arrow table, in a tenth of a millisecond if it is small.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(pyarrow.BufferReader(path.read_bytes())).read()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise StoreError(f"{path} cannot be read as Parquet: {error}") from error
