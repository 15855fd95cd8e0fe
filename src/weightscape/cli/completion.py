"""What the Tab key offers: names of studies, stages, results, models and data sets. Loads no torch.

Install it once with ``weightscape --install-completion``. A completer never fails and never warns: it offers nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_ENDINGS = (".yaml", ".yml")
Completer = Callable[[Any, str], list[str]]


def _completer(offer: Callable[[Any, str], Iterable[str]]) -> Completer:
    """Turn a function that offers texts into one that keeps those which begin as typed, and that never fails."""

    @wraps(offer)
    def complete(ctx: Any, incomplete: str) -> list[str]:
        try:
            return sorted({text for text in offer(ctx, incomplete) if text.startswith(incomplete)})
        except Exception:  # a traceback in the middle of a command line helps nobody
            return []

    # typer looks at the annotations to see which argument is which; as texts they would not be found.
    complete.__annotations__ = {"incomplete": str}
    del complete.__wrapped__
    return complete


@_completer
def studies(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer bundled studies, studies of the workspace and YAML files."""
    from weightscape.recipes import recipe_names

    folder = Path(incomplete).expanduser()
    folder = folder if incomplete.endswith("/") else folder.parent
    prefix = incomplete[: incomplete.rfind("/") + 1]
    files = [f"{prefix}{path.name}" for path in folder.glob("*") if path.suffix in _ENDINGS]
    folders = [f"{prefix}{path.name}/" for path in folder.glob("*") if path.is_dir() and any(path.glob("*.y*ml"))]
    return [*recipe_names(), *_plans(ctx), *files, *folders]


@_completer
def stages(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the stages of the study that was named before."""
    return list(_document(ctx)["stages"])


@_completer
def figures(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the figures of the study that was named before."""
    return list(_document(ctx)["figures"])


@_completer
def details(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the detail tables of the stage that was named before, or of all there are."""
    # click does not know the arguments yet where an option's value is completed; they may be there all the same.
    plans, study, stage = _plans(ctx), ctx.params.get("study"), ctx.params.get("stage")
    chosen = [plans[study]] if study in plans else plans.values()
    known = [(name, found) for plan in chosen for name, found in json.loads(plan.read_text())["stages"].items()]
    outputs = [found["outputs"] for name, found in known if stage in {None, name}]
    return [field for fields in outputs for field, kind in fields.items() if kind == "Table"]


@_completer
def references(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the stages of all studies of the workspace, as the inputs of a one-line command take them."""
    return [
        f"{study}/{stage}" for study, plan in _plans(ctx).items() for stage in json.loads(plan.read_text())["stages"]
    ]


@_completer
def keys(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the keys of results."""
    return [path.name for path in _workspace(ctx).glob(f"objects/{incomplete[:2]}*/{incomplete}*")]


@_completer
def models(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the bundled architectures."""
    from weightscape.models.architecture import NAMES

    return NAMES


@_completer
def data_sets(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the data sets of the catalogue."""
    from weightscape.data.catalogue import names

    return names()


@_completer
def devices(ctx: Any, incomplete: str) -> Iterable[str]:
    """Offer the kinds of devices."""
    return ("auto", "cpu", "cuda", "mps")


def values(name: str, annotation: Any) -> Completer | None:
    """Return what completes the value of a setting; None where nothing can be offered.

    Args:
        name: The setting.
        annotation: Its type.
    """
    if name in {"model", "data"}:
        return models if name == "model" else data_sets
    known = _choices(annotation)
    return _completer(lambda ctx, incomplete: known) if known else None


def _choices(annotation: Any) -> list[str]:
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    fields = getattr(annotation, "model_fields", {})
    inner = [fields["name"].annotation] if "name" in fields else [] if fields else get_args(annotation)
    return [choice for member in inner for choice in _choices(member)]


def _workspace(ctx: Any) -> Path:
    return Path(ctx.params.get("workspace") or os.environ.get("WEIGHTSCAPE_WORKSPACE") or "weightscape-runs")


def _plans(ctx: Any) -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(_workspace(ctx).glob("studies/*/plan.json"))}


def _document(ctx: Any) -> dict[str, Any]:
    """Return the study that was named before: a file, one of the workspace, or a bundled one."""
    from weightscape.recipes import find_recipe
    from weightscape.studies.document import read_file

    name = ctx.params["study"]
    plan = _plans(ctx).get(name)
    if plan is not None and not Path(name).is_file():
        found: dict[str, Any] = json.loads(plan.read_text())["document"]
        return found
    return dict(read_file(name if Path(name).is_file() else find_recipe(name)).data)
