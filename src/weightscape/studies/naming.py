"""What tells the rows of a stage apart, in words and as names of folders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from weightscape.studies.tables import flattened

_LONGEST = 80
_DIGITS = 8


def differences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each row, the settings in which the rows differ; of columns that vary together only the first.

    An input's name is left out where all of the names begin with it.

    >>> differences([{"seed": 0, "size": 3}, {"seed": 1, "size": 3}])
    ['seed=0', 'seed=1']
    >>> differences([{"source": {"seed": seed}, "target": {"seed": seed + 3}} for seed in (0, 1)])
    ['seed=0', 'seed=1']
    """
    return [" ".join(f"{name}={value}" for name, value in row.items()) for row in differing(rows)]


def differing(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each row, the settings in which the rows differ, by their short names."""
    flat = [flattened(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    together: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        values = [json.dumps(row.get(name)) for row in flat]
        together.setdefault(tuple(values.index(value) for value in values), []).append(name)
    shown = {same[0]: same for pattern, same in together.items() if any(pattern)}
    short = {name: _short_name(same, flat) for name, same in shown.items()}
    counts = Counter(short.values())
    texts = {name: text if counts[text] == 1 else name for name, text in short.items()}
    prefix = _common_prefix(list(texts.values()))
    return [
        {text.removeprefix(prefix): row[name] for name, text in texts.items() if row.get(name) is not None}
        for row in flat
    ]


def following(columns: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the columns of settings that say nothing beside another one, and that other one.

    These are options that only some choices have, where the choice says their value (``model.hidden`` beside
    ``model.name``), and settings of an input that are there a second time, because an input of the input has them too.

    >>> following({"model.name": ["mlp", "mlp", "cnn"], "model.hidden": ["[64]", "[64]", None], "seed": [0, 1, 0]})
    {'model.hidden': 'model.name'}
    >>> following({"source.seed": [0, 1], "source.weights.seed": [0, 1], "target.seed": [0, 1]})
    {'source.weights.seed': 'source.seed'}
    >>> following({"front_model.width": [4, 8], "front.model.width": [4, 8]})
    {'front.model.width': 'front_model.width'}

    Args:
        columns: The values of the rows by column; None where there is none.
    """
    found: dict[str, str] = {}
    for name, values in columns.items():
        kind = f"{name.rpartition('.')[0]}.name"
        if kind != name and kind in columns and None in values and _decides(columns[kind], values):
            found[name] = kind
        elif same := [known for known in _before(name, columns) if list(columns[known]) == list(values)]:
            found[name] = same[0]
    return found


def _decides(choice: Sequence[Any], values: Sequence[Any]) -> bool:
    return len(set(zip(choice, values, strict=True))) == len(set(choice))


def _before(name: str, columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the columns before one that have the same setting: of the same input, or of the stage itself.

    ``front_model.width`` of a stage is ``front.model.width`` of its input ``front``.
    """
    names = list(columns)
    head = name.partition(".")[0]
    return [
        known
        for known in names[: names.index(name)]
        if "." in known and (name.endswith("." + known.removeprefix(f"{head}.")) or known == name.replace(".", "_", 1))
    ]


def folder_names(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """Return a name for a folder for each row: its differing settings, safe in any file system, short and unique.

    >>> folder_names([{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.1}], ["9f3a62c1d0", "aa0b"])
    ['seed=0', 'seed=1']

    Args:
        rows: Settings.
        keys: Keys, whose first digits end a name that would be too long or not unique; the whole name where the rows
            do not differ.
    """
    texts = [",".join(f"{name}={_plain(value)}" for name, value in row.items()) for row in differing(rows)]
    safe = [re.sub(r"[^\w.,=+-]+", "-", text, flags=re.ASCII).strip("-. ") for text in texts]
    counts: dict[str, int] = {}
    for name in safe:
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
    return [
        name if name and len(name) <= _LONGEST and counts[name.casefold()] == 1 else _with_key(name, key)
        for name, key in zip(safe, keys, strict=True)
    ]


def _with_key(name: str, key: str) -> str:
    digits = re.sub(r"\W+", "-", key)[:_DIGITS]
    return f"{name[: _LONGEST - _DIGITS - 1].rstrip('-.,= ')}-{digits}" if name else digits


def _plain(value: Any) -> str:
    # The JSON text of a list, without its brackets and spaces.
    return str(value).translate(str.maketrans(dict.fromkeys('[]" '))).replace(",", "+")


def _short_name(same: Sequence[str], flat: Sequence[Mapping[str, Any]]) -> str:
    """Return the name for columns that vary together: without the input's name where all of them are equal."""
    first, leaf = same[0], same[0].rpartition(".")[2]
    equal = all(name.rpartition(".")[2] == leaf and row.get(name) == row.get(first) for name in same for row in flat)
    return leaf if len(same) > 1 and equal else first


def _common_prefix(names: Sequence[str]) -> str:
    """Return the name of an input that all names begin with, and a dot; empty where there is none."""
    heads = {name.partition(".")[0] + "." for name in names if "." in name}
    return heads.pop() if len(heads) == 1 and all("." in name for name in names) else ""
