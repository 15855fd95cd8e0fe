"""Verbs on architectures: layers, symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from weightscape.cli.options import Classes, DataName, Json, ModelName, ModelSettings, Shape, Workspace
from weightscape.errors import Problem, SpecificationError

if TYPE_CHECKING:
    from torch import nn

    from weightscape.models.architecture import Architecture
    from weightscape.symmetry.groups import Symmetry

_LISTED_AXES = 3


class _Built(NamedTuple):
    model: nn.Module
    shape: tuple[int, int, int]
    title: str


def layers(
    model: ModelName,
    settings: ModelSettings = None,
    data: DataName = None,
    shape: Shape = None,
    classes: Classes = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """List a network's layers: shapes, parameters, multiply-adds."""
    from weightscape.cli.printing import print_json, print_rows, records
    from weightscape.models.layers import layer_table

    built = _build(model, settings, data, shape, classes, workspace)
    found = layer_table(built.model, shape=built.shape)
    rows = records(found.layers)
    if as_json:
        totals = {"parameters": found.parameters, "multiply_adds": found.multiply_adds}
        print_json({"model": built.title, "shape": built.shape, **totals, "layers": rows})
        return
    if all(row["calls"] == 1 for row in rows):
        rows = [{name: value for name, value in row.items() if name != "calls"} for row in rows]
    print_rows(rows, title=built.title, fold=False)
    print(f"{found.parameters:,} parameters, {found.multiply_adds:,} multiply-adds per input")


def symmetry(
    model: ModelName,
    settings: ModelSettings = None,
    data: DataName = None,
    shape: Shape = None,
    classes: Classes = None,
    workspace: Workspace = None,
    compat: Annotated[
        bool,
        typer.Option(
            "--compat", metavar="", help="Keep flattened channels fixed, as the code of arXiv 2305.14122 does."
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", metavar="", help="Prove each group numerically, at random weights in float64.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find a network's permutation symmetries, and prove them."""
    import torch

    from weightscape.cli.printing import print_json, print_rows
    from weightscape.symmetry.discovery import discover

    built = _build(model, settings, data, shape, classes, workspace)
    found = discover(built.model, torch.zeros(2, *built.shape), compat=compat)
    proof = _proof(built.model, found) if verify else {}
    groups = [_group(found, name, proof.get(name, {}), full=as_json) for name in found.names]
    fixed = [{"tensor": item.tensor, "axis": item.axis, "size": item.size, "why": item.reason} for item in found.fixed]
    if as_json:
        print_json({"model": built.title, "shape": built.shape, "groups": groups, "fixed": fixed, "proved": verify})
        return
    noun = f"{len(groups)} permutation group{'s' * (len(groups) != 1)}"
    proved = ", each proved at random weights (error: relative change of the outputs)" if verify else ""
    print_rows(groups, title=built.title, fold=False)
    print(f"{noun}{proved}")
    if fixed:
        print()
        print_rows(fixed, title="Fixed axes", fold=False)


def _group(found: Symmetry, name: str, proof: dict[str, float], *, full: bool) -> dict[str, Any]:
    group = found.group(name)
    axes = [str(axis) for axis in group.axes]
    more = f" and {len(axes) - _LISTED_AXES} more" if len(axes) > _LISTED_AXES else ""
    shown: Any = axes if full else ", ".join(axes[:_LISTED_AXES]) + more
    blocks = {"blocks": group.blocks} if full or any(other.blocks > 1 for other in found) else {}
    return {"group": name, "size": group.size, **blocks, **proof, "acts on": shown}


def _proof(model: nn.Module, found: Symmetry) -> dict[str, dict[str, float]]:
    from weightscape.symmetry.verification import verify_symmetry

    checks = verify_symmetry(model, found).checks
    return {str(row["group"]): {"error": float(row["error"])} for _, row in checks.iterrows()}


def _build(
    text: str,
    settings: Sequence[str] | None,
    data: str | None,
    shape: str | None,
    classes: int | None,
    workspace: Path | None,
) -> _Built:
    from weightscape.cli.inputs import inputs_of
    from weightscape.cli.named_networks import named_network
    from weightscape.cli.opening import let_python_find
    from weightscape.models.building import build_model

    let_python_find(None)
    said = inputs_of(data, shape, classes)
    named = named_network(text, inputs=said if data or shape else None, workspace=workspace)
    architecture = named.architecture if named and not settings else _architecture(text, settings or ())
    sizes, count = (named.inputs if named and not data and not shape else None) or said
    model = build_model(architecture, shape=sizes, classes=classes or count, seed=0)
    title = f"{architecture.name} for inputs {' x '.join(map(str, sizes))} and {classes or count} classes"
    return _Built(model, sizes, title)


def _architecture(text: str, overrides: Sequence[str]) -> Architecture:
    from weightscape.models.architecture import parse_architecture
    from weightscape.studies.document import read_value
    from weightscape.studies.specification import assign

    value = read_value(text)
    options = {"name": value} if isinstance(value, str) and overrides else value
    for override in overrides:
        name, equals, given = override.partition("=")
        if not (name and equals and isinstance(options, dict)):
            example = "For example: --set width=0.5"
            raise SpecificationError([Problem(f"--set {override}", "OPTION=VALUE", repr(override), example)])
        assign(options, name.strip(), read_value(given))
    return parse_architecture(options)
