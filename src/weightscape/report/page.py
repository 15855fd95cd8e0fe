"""One self-contained HTML page from plain data: figures, tables, settings, environment, failures.

Nothing on the page is loaded from elsewhere, nothing in it is trusted: all text is escaped, vector graphics are shown
as images (where scripts do not run), and a content security policy forbids every request.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weightscape.errors import WeightscapeError
from weightscape.report.cells import HtmlTable, html_table
from weightscape.studies.workspace.files import write_text

if TYPE_CHECKING:
    from weightscape.results import Table


MANY_TABLES = 12
"""With more tables than that, detail tables (``STAGE.FIELD``) are folded, so that those of the stages are found."""


class ReportFigure(NamedTuple):
    """A figure of the report.

    Attributes:
        title: Heading, and the text shown where images are not.
        caption: What is to be seen.
        image: The bytes of a PNG or SVG file.
        csv: Where the numbers are, relative to the page; empty when they are nowhere.
    """

    title: str
    caption: str
    image: bytes
    csv: str = ""


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        title: The study's name.
        about: What the study is for.
        figures: In the order shown.
        tables: By name.
        table_files: Where the full table is, by name, relative to the page; ``NAME.parquet`` when left out.
        settings: The study as written (YAML).
        environment: Versions, machine, threads and the like.
        failures: Mappings with ``stage``, ``key``, ``message`` and ``log``.
        warnings: Sentences shown on top.
        created: Date and time; none by default, so that equal studies give equal bytes.
    """

    title: str
    about: str = ""
    figures: Sequence[ReportFigure | tuple[str, str, bytes, str]] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    table_files: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    created: str = ""


def render(report: Report) -> str:
    """Return the page. It depends on the report alone.

    Raises:
        WeightscapeError: If an image is neither PNG nor SVG.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_asset("report.html.j2"))
    figures = [_figure(ReportFigure(*item)) for item in report.figures]
    tables = [_table(name, table, report) for name, table in report.tables.items()]
    return template.render(
        report=report,
        figures=figures,
        tables=tables,
        facts=_facts(report),
        many_tables=MANY_TABLES,
        # Files of this package, which close no tag of their own: the only text that is not escaped.
        style=_asset("report.css"),
        script=_asset("report.js"),
    )


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page, by way of a draft beside it, so that nobody reads half a page; return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(report))
    return path


def _asset(name: str) -> str:
    return (resources.files("weightscape.report") / "templates" / name).read_text(encoding="utf-8")


def _figure(item: ReportFigure) -> dict[str, str]:
    kind = _image_type(item)
    source = f"data:{kind};base64,{base64.b64encode(item.image).decode()}"
    return {"title": item.title, "caption": item.caption, "source": source, "csv": _relative(item.csv)}


def _image_type(item: ReportFigure) -> str:
    if item.image.startswith(b"\x89PNG\r\n"):
        return "image/png"
    if b"<svg" in item.image[:2000]:
        return "image/svg+xml"
    raise WeightscapeError(f"The image of the figure {item.title!r} is expected as PNG or SVG, it is neither.")


def _table(name: str, table: Table, report: Report) -> tuple[str, HtmlTable, str]:
    return name, html_table(table), _relative(report.table_files.get(name, f"{name}.parquet"))


def _relative(path: str) -> str:
    """Return a path that a link resolves beside the page, whatever it starts with."""
    from urllib.parse import quote

    return "./" + quote(Path(path).as_posix().lstrip("/")) if path else ""


def _facts(report: Report) -> list[tuple[str, int, str]]:
    """Return the counts on top of the page: singular name, number and the section to jump to."""
    facts = [("figure", len(report.figures), "figures"), ("table", len(report.tables), "tables")]
    extra = [("failure", len(report.failures), "failures"), ("warning", len(report.warnings), "warnings")]
    return facts + [fact for fact in extra if fact[1]]
