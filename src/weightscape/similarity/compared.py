"""What is compared: networks or stored representations, by name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from weightscape.errors import DataError
from weightscape.similarity.result import Representation
from weightscape.similarity.settings import Form
from weightscape.weights.population import Population

Compared: TypeAlias = nn.Module | Representation


def way_out(*given: Any) -> str:
    """Return what to do about things that are not compared as they are."""
    if any(isinstance(one, Mapping) for one in given):
        return "Weights go into their module first: network.load_state_dict(weights)."
    if any(isinstance(one, str | Path) for one in given):
        return "Files are compared by the command: weightscape compare A B --data NAME."
    return "Give both networks, or represent both: represent(network, probe)."


def stored_form(form: Form | None, stored: Iterable[Representation]) -> Form:
    """Return the form of rows of stored representations.

    Raises:
        DataError: If they have several, or another one is wanted.
    """
    forms = [one.form for one in stored]
    if len({*forms, form or forms[0]}) > 1:
        raise DataError(
            f"Expected representations of one form, and no other form beside; received {' and '.join(forms)}"
            f"{f' and the wish for {form}' if form else ''}. Represent the networks anew in one form."
        )
    found: Form = forms[0]  # type: ignore[assignment]
    return found


def named_networks(networks: Any, model: nn.Module | None) -> dict[str, Compared]:
    """Return networks by name.

    Raises:
        DataError: If there are fewer than two, two have one name, or a population comes without its module.
    """
    pairs: list[tuple[str, Compared]]
    if isinstance(networks, Population):
        if model is None:
            raise DataError("Weights do not say what network they are of. Give the module too: model=network.")
        modules = (copy.deepcopy(one) for one in networks.modules(model))
        pairs = list(zip(networks.labels, modules, strict=True))
    else:
        pairs = (
            list(networks.items()) if isinstance(networks, Mapping) else [(str(i), n) for i, n in enumerate(networks)]
        )
    named: dict[str, Compared] = dict(pairs)
    if len(named) < 2 or len(named) != len(pairs):
        raise DataError(f"Expected at least two networks of different names, received {[name for name, _ in pairs]}.")
    return named
