"""How the networks that a result was made of were trained, where that is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape.errors import StoreError
from weightscape.studies.workspace.record import OBJECT, Record

if TYPE_CHECKING:
    import pandas

    from weightscape.results import Table

_LOG = "training_log.csv"


def curves_of(record: Record, names: Mapping[str, str]) -> pandas.DataFrame | None:
    """Return the epochs of the networks that a result takes, one below the other, named by the inputs.

    They are those of a result of the same workspace (a run of ``train``, an import with a log), or of the log that
    published networks have beside their files. Networks of which nothing is known are left out.

    Args:
        record: The result.
        names: What the user called the inputs.

    Returns:
        The table with the column ``network``; None where nothing is known of any.
    """
    import pandas

    inputs = record.content["inputs"]
    found = {name: _epochs(record, inputs[name][0], names.get(name, "")) for name in inputs if _is_single(inputs[name])}
    known = [table.assign(network=name) for name, table in found.items() if table is not None and len(table)]
    return pandas.concat(known, ignore_index=True) if known else None


def _is_single(identity: list[object]) -> bool:
    return bool(identity) and isinstance(identity[0], str)


def _epochs(record: Record, key: str, name: str) -> Table | None:
    """Return the epochs of one network, if they are known."""
    if key.startswith("file:"):
        return _logged(Path(name).expanduser().parent / _LOG)
    folder = record.folder.parents[1] / key[:2] / key
    if not (folder / OBJECT).is_file():
        return None
    try:
        upstream = Record(key, folder)
        table: Table | None = upstream.artefact("epochs") if upstream.outputs.get("epochs") == "Table" else None
    except StoreError:  # what is damaged there is no reason to have no page here
        return None
    return table if table is not None and "train_loss" in table.columns else None


def _logged(path: Path) -> Table | None:
    from weightscape.formats.dr_frankenstein import read_log

    try:
        return read_log(path) if path.is_file() else None
    except StoreError:
        return None
