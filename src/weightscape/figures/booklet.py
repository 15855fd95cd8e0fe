"""Text and figures as the pages of one PDF, byte-equal for equal content."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from weightscape.figures.style import INK, MUTED, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["title", "heading", "text", "note", "mono"]

_PAGE = (8.27, 11.69)  # A4, inches
_MARGIN = 0.85
_POINTS = 72.0


@dataclass(frozen=True)
class Block:
    """A piece of text.

    Attributes:
        kind: What it is: decides its size; ``mono`` keeps its lines as they are.
        text: The words.
    """

    kind: Kind
    text: str


@dataclass(frozen=True)
class _Form:
    size: float
    characters: int
    before: float
    colour: str = INK
    family: str = "DejaVu Sans"
    weight: str = "normal"


_FORMS: dict[Kind, _Form] = {
    "title": _Form(13, 64, 0, weight="bold"),
    "heading": _Form(10, 90, 12, weight="bold"),
    "text": _Form(8.5, 110, 6),
    "note": _Form(8, 116, 4, colour=MUTED),
    "mono": _Form(7, 112, 4, family="DejaVu Sans Mono"),
}


def booklet(blocks: Sequence[Block], figures: Sequence[tuple[str, Figure]] = ()) -> bytes:
    """Return a PDF: the text on as many pages as it needs, then a page for each figure, as vector graphics.

    Args:
        blocks: The text in order.
        figures: Captions and figures.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    # None removes what matplotlib would put in: the time and its own version.
    metadata = {"Creator": "weightscape", "Producer": None, "CreationDate": None}
    with house_style(), PdfPages(buffer, metadata=metadata) as pages:
        for page in _text_pages(blocks):
            pages.savefig(page)
        for caption, figure in figures:
            _save_figure(pages, caption, figure)
    return buffer.getvalue()


def _text_pages(blocks: Sequence[Block]) -> Iterator[Figure]:
    from matplotlib.figure import Figure

    bottom = _MARGIN * _POINTS
    place, page = 0.0, None
    for form, line, gap in _lines(blocks):
        height = 1.42 * form.size
        if page is None or place - gap - height < bottom:
            if page is not None:
                yield page
            page, place, gap = Figure(figsize=_PAGE), (_PAGE[1] - _MARGIN) * _POINTS, 0.0
        place -= gap + height
        page.text(
            _MARGIN / _PAGE[0],
            place / (_PAGE[1] * _POINTS),
            line,
            fontsize=form.size,
            color=form.colour,
            family=form.family,
            weight=form.weight,
            parse_math=False,
        )
    if page is not None:
        yield page


def _lines(blocks: Sequence[Block]) -> Iterator[tuple[_Form, str, float]]:
    """Yield each line with its form and the space before it."""
    for block in blocks:
        form = _FORMS[block.kind]
        flowing = " ".join(block.text.split()).replace(" %", "\N{NO-BREAK SPACE}%")
        whole = block.text.splitlines() if block.kind == "mono" else [flowing]
        gap = form.before
        for text in whole:
            for line in textwrap.wrap(text, form.characters, drop_whitespace=block.kind != "mono") or [""]:
                yield form, line, gap
                gap = 0.0


def _save_figure(pages: object, caption: str, figure: Figure) -> None:
    """Put a figure on the upper part of a page of its own, its caption above it."""
    from matplotlib.transforms import Bbox

    form = _FORMS["text"]
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, form.characters)
    head = _MARGIN + len(lines) * 1.42 * form.size / _POINTS + 0.15
    left = max((_PAGE[0] - width) / 2, 0.0)
    start = (_MARGIN - left) / width  # the caption begins where text begins
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # everything has its place, and keeps it on the larger page
    above = figure.text(start, 1 + 0.15 / height, "\n".join(lines), fontsize=form.size, va="bottom", parse_math=False)
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    box = Bbox.from_extents(-left, height + head - _PAGE[1], _PAGE[0] - left, height + head)
    pages.savefig(figure, bbox_inches=box)  # type: ignore[attr-defined]
    above.remove()
