"""Reference pages made from the code: operations and their options, data sets, figures, commands."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from schemas import Option, descriptions, markdown, options, parts, variants
from sphinx.util.docutils import SphinxDirective

import weightscape
from weightscape.operation import Operation, find_operation, operation_names

_LIBRARY = {
    "train": "weightscape.training.run.train_model",
    "transfer": "weightscape.transfer.trajectory.transfer_trajectory",
}
"""The function behind an operation, whose arguments of the same names mean the same."""
_PARTS = {
    "model": "The network; see [settings](settings.md).",
    "data": "The data set and which part of it; see [settings](settings.md).",
    "recipe": "Epochs, batch size, optimiser and schedule; see [settings](settings.md).",
}

_INVARIANCES = {
    "invertible-linear": "invertible linear maps",
    "orthogonal": "rotations and reflections of the units",
    "isotropic-scale": "one positive scale for all units",
    "translation": "shifts of every unit",
    "unit-permutation": "permutations of the units",
    "sample-permutation": "one permutation of the samples in both",
}
"""What a measure may be invariant to, in words."""

_TITLES = {
    "Custom": "A network of your own",
    "Library": "A network of timm or torchvision",
    "DataSettings": "Data",
    "OwnTransform": "A transform of your own",
    "MeanAndStd": "Normalisation by numbers",
    "ParameterGroup": "Group of parameters",
    "OwnSchedule": "A schedule of your own",
    "OwnLoss": "A loss of your own",
    "WarmUp": "Warm-up",
    "BestEpoch": "Best epoch",
    "EarlyStopping": "Early stopping",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table without the columns that are empty in all rows."""
    rows = list(rows)
    filled = [index for index in range(len(head)) if any(row[index] for row in rows)]
    lines = [[line[index] for index in filled] for line in [head, ["---"] * len(head), *rows]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def operations() -> str:
    """Return a section per operation."""
    found = [find_operation(name) for name in operation_names()]
    return "\n".join(_operation(one) for one in found if one.is_bundled)


def _operation(one: Operation) -> str:
    documentation = inspect.getdoc(one.function) or ""
    body = documentation.split("\nArgs:")[0].split("\nRaises:")[0]
    lines = [f"## {one.name}\n", *(markdown(paragraph) + "\n" for paragraph in body.split("\n\n"))]
    lines.append(f"Version {one.version}.\n")
    if one.inputs:
        rows = [[f"`{item.name}`", item.artefact, "yes" if item.optional else ""] for item in one.inputs.values()]
        lines += ["**Inputs** (`from`)\n", table(["parameter", "takes", "may be left out"], rows)]
    lines += ["**Options** (`with`, `grid`, `--set`)\n", _options(options(one.settings, _meanings(one)))]
    lines += ["**Result**\n", _result(one)]
    return "\n".join(lines)


def _meanings(one: Operation) -> dict[str, str]:
    """Return what the operation's docstring, and that of the library function it calls, say about its options."""
    module, _, name = _LIBRARY.get(one.name, "").rpartition(".")
    library = getattr(importlib.import_module(module), name) if module else None
    return {**(descriptions(library) if library else {}), **descriptions(one.function), **_PARTS}


def _options(found: Iterable[Option]) -> str:
    rows = [
        [f"`{option.name}`", option.kind, "**required**" if option.default is None else option.default, option.meaning]
        for option in found
    ]
    return table(["option", "value", "default", "meaning"], rows)


def _result(one: Operation) -> str:
    result = one._hints["return"]
    meanings = descriptions(result)
    rows = [
        [f"`{field.name}`", one.outputs.get(field.name, "metric"), meanings.get(field.name, "")]
        for field in fields(result)
        if not field.name.endswith("_seconds")
    ]
    return table(["field", "kind", "meaning"], rows)


def settings() -> str:
    """Return a section for each part that options of operations are made of: model, data, recipe and what is in it."""
    lines, done = [], set()
    for name in operation_names():
        for field in find_operation(name).settings.model_fields.values():
            for part in parts(field.annotation):
                if part not in done and find_operation(name).is_bundled:
                    done.add(part)
                    lines.append(_part(part))
    return "\n".join(lines)


def _part(part: type[Any]) -> str:
    names = ", ".join(f"`{name}`" for name in variants(part))
    title = names or _TITLES.get(part.__name__, part.__name__)
    body = (inspect.getdoc(part) or "").split("\nAttributes:")[0]
    shown = [option for option in options(part) if not (option.name == "name" and names)]
    lines = [f"## {title}\n", *(markdown(paragraph) + "\n" for paragraph in body.split("\n\n"))]
    return "\n".join([*lines, _options(shown) if shown else "No options.\n"])


def data_sets() -> str:
    """Return a section per data set of the catalogue."""
    from weightscape.data.catalogue import describe, names

    return "\n".join(_data_set(describe(name)) for name in names())


def _data_set(entry: Any) -> str:
    from weightscape.data.files import expected_files

    rows = [
        ["images", " x ".join(map(str, entry.shape)) + f", {entry.train_size:,} training, {entry.test_size:,} test"],
        ["classes", ", ".join(entry.classes)],
        ["normalisation", f"mean {_numbers(entry.mean)}, standard deviation {_numbers(entry.std)}"],
        ["files", "; or ".join(f"`{names}`" for names in expected_files(entry))],
        ["licence", entry.licence],
        ["cite", entry.citation],
        ["home", f"<{entry.homepage}>"],
    ]
    rows += [["note", entry.notes]] if entry.notes else []
    return f"## {entry.name}\n\n{entry.title}.\n\n" + table(["", ""], rows)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def figures() -> str:
    """Return a section per figure."""
    from weightscape.figures.registry import find, names

    return "\n".join(_figure(find(name)) for name in names())


def _figure(entry: Any) -> str:
    meanings = descriptions(entry.function)
    parameters = inspect.signature(entry.function).parameters
    rows = [
        [f"`{name}`", "table" if name in entry.tables else "option", _figure_default(parameter), meanings.get(name, "")]
        for name, parameter in parameters.items()
    ]
    body = (inspect.getdoc(entry.function) or "").split("\nArgs:")[0].split("\nRaises:")[0]
    lines = [f"## {entry.name}\n", *(markdown(paragraph) + "\n" for paragraph in body.split("\n\n"))]
    return "\n".join([*lines, table(["name", "kind", "default", "meaning"], rows)])


def _figure_default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "**required**"
    return "" if parameter.default is None else f"`{parameter.default}`"


def measures() -> str:
    """Return a table of all measures of similarity, and a section for each."""
    from weightscape.similarity.measure import find_measure, measure_names

    found = [find_measure(name) for name in measure_names()]
    rows = [
        [
            f"`{one.name}`",
            one.kind,
            _range(one),
            "yes" if one.symmetric else "no",
            "yes" if one.biased else "no",
            " or ".join(one.functions),
        ]
        for one in found
    ]
    head = ["measure", "kind", "range", "symmetric", "depends on n", "computed from"]
    return "\n".join(["## All measures\n", table(head, rows), *map(_measure, found)])


def _measure(one: Any) -> str:
    body = (inspect.getdoc(one.function) or "").split("\nArgs:")[0].split("\nRaises:")[0]
    changes = [change for change in _INVARIANCES if change in one.invariances]
    samples = f"at least {one.minimum_samples}" + (f"; {one.sample_rule}" if one.sample_rule else "")
    rows = [
        ["kind", f"{one.kind}, {_range(one)}; {one.best:g} of a representation with itself"],
        ["symmetric", "yes" if one.symmetric else "no"],
        ["invariant to", ", ".join(_INVARIANCES[change] for change in changes)],
        ["samples", samples],
        ["bias", "its expectation depends on n" if one.biased else "none, or of order 1/n in a ratio"],
        ["computed from", " or ".join(one.functions)],
        ["cost", one.cost],
        ["source", one.source],
    ]
    meanings = descriptions(one.function)
    chosen = [[f"`{name}`", _figure_default(option), meanings.get(name, "")] for name, option in one.options.items()]
    options_table = ["**Options**\n", table(["option", "default", "meaning"], chosen)] if chosen else []
    paragraphs = (markdown(paragraph) + "\n" for paragraph in body.split("\n\n"))
    return "\n".join([f"## {one.name}\n", *paragraphs, table(["", ""], rows), *options_table])


def _range(one: Any) -> str:
    known = {math.inf: "∞", math.pi / 2: "π/2", math.sqrt(2): "√2"}
    high = known.get(one.high, f"{one.high:g}")
    return f"[{one.low:g}, {high}" + (")" if math.isinf(one.high) else "]")


def commands() -> str:
    """Return a section per command of the command line."""
    from command_line import sections

    return sections(table)


_PAGES: dict[str, Callable[[], str]] = {
    "operations": operations,
    "settings": settings,
    "data-sets": data_sets,
    "figures": figures,
    "measures": measures,
    "commands": commands,
}


class Generated(SphinxDirective):
    """``{generated} operations``: what the code says, as part of a page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed Markdown."""
        return list(self.parse_text_to_nodes(_PAGES[self.arguments[0]](), allow_section_headings=True))


def _import_all() -> None:
    """Import every module first: autodoc changes annotations of the classes it shows, pydantic's base among them."""
    for module in pkgutil.walk_packages(weightscape.__path__, "weightscape."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _without_signature(app: Any, what: str, name: str, found: Any, *rest: Any) -> tuple[str, str] | None:
    """Show settings by their attributes: the constructor that pydantic makes says the same, unreadably."""
    return ("", "") if what == "class" and issubclass(found, BaseModel) else None


def _skipped(app: Any, what: str, name: str, found: Any, skip: bool, given: Any) -> bool | None:
    """Leave out what pydantic adds to every class."""
    return True if name.startswith("model_") else None


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    _import_all()
    app.add_directive("generated", Generated)
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("autodoc-skip-member", _skipped)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
