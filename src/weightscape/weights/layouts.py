"""How folders of networks that others published are laid out: which files, and what their paths say. Loads no torch."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from weightscape.errors import WeightscapeError, did_you_mean

LayoutName: TypeAlias = Literal["dr-frankenstein"]
"""The layouts that are known by name."""


@dataclass(frozen=True)
class Layout:
    """A layout of folders.

    Attributes:
        run: The name of the folder of one run, as a pattern.
        files: The snapshots in it, as a pattern.
        step: How a path says steps and settings, as :class:`~weightscape.weights.file_names.StepPattern` takes it.
        log: The file in the folder of a run that tells losses and accuracies of each epoch.
    """

    run: str
    files: str
    step: str
    log: str

    def patterns(self, places: Sequence[str | Path]) -> list[str]:
        """Return files and patterns of files, folders being replaced by the snapshots of all runs in them."""
        return [pattern for place in places for pattern in self._of_place(os.path.expanduser(os.fspath(place)))]

    def _of_place(self, place: str) -> list[str]:
        if not os.path.isdir(place):
            return [place]
        is_run = fnmatch.fnmatchcase(Path(place).absolute().name, self.run)
        return [os.path.join(glob.escape(place), *([] if is_run else ["**", self.run]), self.files)]


# Csiszarik et al., arXiv 2110.14633: MODEL/DATASET/in{i}-gn{g}/{iteration}.pt, with the two seeds in the name.
_LAYOUTS: dict[str, Layout] = {
    "dr-frankenstein": Layout(
        run="in*-gn*",
        files="*.pt",
        step="in{init_seed}-gn{order_seed}/{iteration}.pt",
        log="training_log.csv",
    )
}
assert set(_LAYOUTS) == set(get_args(LayoutName))


def find_layout(name: str) -> Layout:
    """Return a layout by its name.

    Raises:
        WeightscapeError: If there is none of that name.
    """
    if name not in _LAYOUTS:
        raise WeightscapeError(f"There is no layout of folders named {name!r}. {did_you_mean(name, _LAYOUTS)}")
    return _LAYOUTS[name]
