"""What a figure says in words: how many runs, what is missing, where published numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weightscape.figures.numbers import THIN_LINES_BELOW, pair_columns, unit
from weightscape.figures.style import Look

if TYPE_CHECKING:
    import pandas


def runs_note(frame: pandas.DataFrame, counts: Mapping[str, tuple[int, int]]) -> str:
    """Return for example ``n = 3 pairs; thin: single pairs, bold: mean, band: ±1 SD``."""
    most = max((good for good, _ in counts.values()), default=0)
    text = f"n = {most} {unit(frame, most)}{_shared(frame, most)}"
    if most < 2:
        return text
    single = f"thin: single {unit(frame, 2)}, " if most < THIN_LINES_BELOW else ""
    return f"{text}; {single}bold: mean, band: ±1 SD (n-1)"


def _shared(frame: pandas.DataFrame, pairs: int) -> str:
    """Pairs that share a network are not independent: say from how many networks they are made."""
    good = frame.loc[~frame["failed"]]
    if unit(frame, 2) != "pairs" or not pairs:
        return ""
    sources, targets = (good[column].nunique() for column in pair_columns(frame))
    if min(sources, targets) >= pairs:
        return ""
    return f" ({sources} source{'s' * (sources != 1)}, {targets} target{'s' * (targets != 1)})"


def missing_note(frame: pandas.DataFrame, counts: Mapping[str, tuple[int, int]], looks: Mapping[str, Look]) -> str:
    """Return for example ``Missing: oracle (0 of 3 pairs), GMT (2 of 3 pairs)``, or nothing."""
    parts = [
        f"{looks[name].label} ({good} of {total} {unit(frame, total)} drawn)"
        for name, (good, total) in counts.items()
        if good < total and name in looks
    ]
    return f"Missing: {', '.join(parts)}" if parts else ""


def present_and_missing(counts: Mapping[str, tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Return the series that have values, and those that have none."""
    return [name for name, (good, _) in counts.items() if good], [
        name for name, (good, _) in counts.items() if not good
    ]


def lossy_note(frame: pandas.DataFrame) -> str:
    """Return that the images are a lossy copy, where a row says so."""
    if "lossy_images" not in frame.columns or not frame["lossy_images"].fillna(value=False).astype(bool).any():
        return ""
    return "The images are a JPEG copy of the original ones, on which these networks are less accurate."
