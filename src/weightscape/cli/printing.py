"""How tables, records and JSON are printed: narrow on a terminal, complete everywhere else."""

from __future__ import annotations

import json
import math
import numbers
import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from weightscape.studies.naming import following

if TYPE_CHECKING:
    import pandas

KEY_SHOWN = 8
MISSING = "\N{EN DASH}"
_MOST_ROWS = 200
_GAP = "  "
_NARROWEST = 24
_ANYTHING = 10**6
_STYLES = {
    "done": "32",
    "cached": "32",
    "failed": "1;31",
    "blocked": "33",
    "waiting": "2",
    "bold": "1",
    "dim": "2",
    "warning": "33",
    "problem": "1;31",
    "note": "33",
}


def width(stream: TextIO | None = None) -> int:
    """Return the width of the terminal, or no limit where a stream does not go to one."""
    stream = stream or sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else _ANYTHING


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return text in a named style where the stream goes to a terminal that shows it."""
    import os

    stream = stream or sys.stdout
    plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or style not in _STYLES
    return text if plain else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def print_json(value: Any) -> None:
    """Print plain data as JSON; NaN and infinities become null."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """Return plain data as JSON; NaN and infinities become null."""
    return json.dumps(_jsonable(value), indent=1, ensure_ascii=False)


def records(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain data."""
    return [dict(zip(map(str, frame.columns), row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _jsonable(member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(member) for member in value]
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if is_missing(value) else str(value)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    fold: bool = True,
    keep: Collection[str] = (),
    inputs: Collection[str] = (),
) -> None:
    """Print rows as a table.

    Args:
        rows: Values by column; a row may lack some.
        title: A line above.
        fold: Whether columns with the same value in all rows, and settings that others imply, go into lines below,
            which keeps the table narrow.
        keep: Columns that stay all the same.
        inputs: Names of inputs; of their settings, only those that differ are printed.
    """
    if title:
        print(styled(title, "bold"))
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) == 1 and fold:
        print_facts({name: rows[0].get(name) for name in names})
        return
    cells = {name: [cell(row.get(name), name) for row in rows] for name in names}
    filled = [name for name in names if any(text not in {"", MISSING} for text in cells[name])]
    same = [name for name in filled if fold and name not in {"key", *keep} and len(set(cells[name])) == 1]
    others = [name for name in filled if name not in same]
    implied = following({name: [_known(text) for text in cells[name]] for name in others if name not in keep})
    implied = implied if fold else {}
    limit = _MOST_ROWS if sys.stdout.isatty() else len(rows)
    shown = {name: cells[name][:limit] for name in others if name not in implied}
    for block in _blocks(shown, width()):
        _print_block({name: shown[name] for name in block}, width())
    if len(rows) > limit:
        print(styled(f"The first {limit} of {len(rows)} rows; all of them with --csv or --json.", "dim"))
    _print_left_out("In all rows: ", {name: f"{name} = {cells[name][0]}" for name in same}, inputs)
    _print_left_out("Left out, as other columns imply them: ", {name: name for name in implied}, inputs)


def _print_left_out(title: str, texts: Mapping[str, str], inputs: Collection[str]) -> None:
    """Print what is said of columns that are not in a table; of the settings of inputs, how many there are."""
    own = [text for name, text in texts.items() if name.partition(".")[0] not in inputs]
    if rest := len(texts) - len(own):
        own.append(f"{'and ' * bool(own)}{rest} setting{'s' * (rest > 1)} of the inputs (--csv has all)")
    if own:
        print_wrapped(f"{title}{', '.join(own)}", "dim")


def _known(text: str) -> str | None:
    return None if text in {"", MISSING} else text


def print_facts(facts: Mapping[str, Any], *, title: str = "") -> None:
    """Print names and values, one pair a line; what is missing is left out."""
    if title:
        print(styled(title, "bold"))
    texts = {name: value if isinstance(value, str) else cell(value) for name, value in facts.items()}
    texts = {name: text for name, text in texts.items() if text not in {"", MISSING}}
    longest = max(map(len, texts), default=0)
    room = max(_NARROWEST, width() - longest - len(_GAP))
    for name, text in texts.items():
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, room, break_on_hyphens=False)]
        print(f"{name:<{longest}}{_GAP}" + ("\n" + " " * (longest + len(_GAP))).join(lines))


def _blocks(cells: Mapping[str, Sequence[str]], limit: int) -> list[list[str]]:
    """Split columns into blocks that fit on the screen; each begins with the first column."""
    sizes = {name: max(map(len, [name, *texts])) + len(_GAP) for name, texts in cells.items()}
    first, last = next(iter(sizes), ""), next(reversed(sizes), "")
    blocks: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        needed = min(size, _NARROWEST) if name == last else size
        if not blocks or needed > room:
            blocks.append([first] if blocks else [])
            room = limit - (sizes[first] if blocks[1:] else 0)
        blocks[-1].append(name)
        room -= size
    return blocks


def _print_block(cells: Mapping[str, Sequence[str]], limit: int) -> None:
    sizes = {name: max(map(len, [name, *texts])) for name, texts in cells.items()}
    right = {name for name, texts in cells.items() if name != "key" and all(map(_reads_as_number, texts))}
    *others, last = sizes
    before = sum(sizes[name] + len(_GAP) for name in others)
    sizes[last] = max(min(sizes[last], limit - before), min(_NARROWEST, sizes[last]))
    heads = [name.rjust(sizes[name]) if name in right else name.ljust(sizes[name]) for name in cells]
    print(styled(_GAP.join(heads).rstrip(), "bold"))
    for row in zip(*cells.values(), strict=True):
        parts = [
            styled(
                text.rjust(sizes[name]) if name in right else text.ljust(sizes[name]), text if name == "status" else ""
            )
            for name, text in zip(others, row, strict=False)
        ]
        lines = textwrap.wrap(row[-1], sizes[last], break_on_hyphens=False) or [""]
        lines[0] = lines[0].rjust(sizes[last]) if last in right else lines[0]
        print((_GAP.join([*parts, lines[0]]) + "".join(f"\n{' ' * before}{line}" for line in lines[1:])).rstrip())


def print_wrapped(text: str, style: str) -> None:
    """Print a text in lines that fit on the screen."""
    print(styled("\n".join(textwrap.wrap(text, width(), break_on_hyphens=False, break_long_words=False)), style))


def cell(value: Any, name: str = "") -> str:
    """Return a value for reading: keys and fingerprints shortened, numbers with four digits.

    >>> cell(0.981549), cell(53248), cell(True), cell(None), cell("9f3a62c1d0", "key")
    ('0.9815', '53248', 'true', '–', '9f3a62c1')
    """
    if is_missing(value):
        return MISSING
    if name in {"key", "fingerprint"}:
        return str(value)[:KEY_SHOWN]
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return str(bool(value)).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        number = float(value)
        return f"{number:.0f}" if 1000 <= abs(number) < 1e9 else f"{number:.4g}"
    return " ".join(str(value).split())


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table holds nothing."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and math.isnan(value)


def _reads_as_number(text: str) -> bool:
    try:
        float(text.replace(MISSING, "0"))
    except ValueError:
        return False
    return True


def note(text: str, style: str = "") -> None:
    """Print a line for people on stderr."""
    print(styled(text, style, sys.stderr), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    note(f"Warning: {text}", "warning")
