"""A sheet -> its figures: captions and page furniture aside, in reading order, upright."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge_retrieval.arrays import Pixels
from edge_retrieval.drawing.caption import Caption, find_captions
from edge_retrieval.drawing.decode import Page, read_pages
from edge_retrieval.drawing.group import all_ink, captioned, group_parts, reading_order
from edge_retrieval.drawing.ink import Cells, Ints, Mask, Parts, cells_of, parts_of
from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import current, raising
from edge_retrieval.sources.design import Box

CUT_VERSION = 2
"""Raised whenever a sheet may be cut otherwise than before: what was kept of a cut goes stale."""

TURNING = 0.75
"""A caption turns its sheet only if it is this much like known letters: a wrong turn costs more
than a missed one."""


@dataclass(frozen=True)
class FigureImage:
    """One figure cut out of a sheet, upright, trimmed to its ink.

    Attributes:
        pixels: `(h, w)` uint8, 0 ink, 255 paper; long side at most `MASTER_SIDE`: the master from
            which every size is fitted.
        box: Where it is on the sheet, in full-resolution pixels before turning.
        turned: Degrees counter-clockwise that were applied: 0, 90, 180 or 270.
    """

    pixels: Pixels
    box: Box
    turned: int = 0


def cut_sheet(data: bytes, *, where: str, boxes: Sequence[Box] | None = None) -> list[FigureImage]:
    """Cut a sheet into its figures.

    Captions ("FIG. 3"), header lines, page borders and specks are left out; if the captions stand
    sideways, the figures are turned so that they can be read. Figures come in reading order.

    Args:
        data: Bytes of PNG, TIFF, JPEG, WebP, BMP or PDF; all pages of a TIFF or PDF.
        where: Where a person finds it, for messages.
        boxes: Where the figures are, if that is known: these are trimmed to ink, in this order.
            Only for a file of one page.

    Raises:
        DrawingError: Not an image, truncated, too large, no ink, or a box without ink.
        MissingExtraError: A PDF without the extra 'pdf'.
    """
    return cut_pages(read_pages(data, where=where), where=where, boxes=boxes)


def cut_pages(
    pages: Iterable[Page], *, where: str, boxes: Sequence[Box] | None = None
) -> list[FigureImage]:
    """Cut the pages of a sheet into its figures.

    Args, Raises: as `cut_sheet`; `pages` are what `read_pages` gives.
    """
    with _memory_for(where):
        return _cut_pages(pages, where, boxes)


def _cut_pages(pages: Iterable[Page], where: str, boxes: Sequence[Box] | None) -> list[FigureImage]:
    figures: list[FigureImage] = []
    if boxes is not None and len(boxes) > current().figures:
        raise _too_many(where, "boxes")
    for number, page in enumerate(pages):
        if boxes is not None and number > 0:
            raise DrawingError(
                f"{where}: boxes are given, but there are several pages",
                hint="give each page as a file of its own, or leave the boxes out",
            )
        figures += _cut_page(page, where, boxes)
        if len(figures) > current().figures:
            raise _too_many(where, "figures")
    if not figures:
        raise _empty(where)
    return figures


def whole_sheet(data: bytes, *, where: str) -> FigureImage:
    """Return a page as one figure, trimmed to ink: a query that already is one figure.

    Of several pages the first that has ink is taken.

    Raises:
        DrawingError: As `cut_sheet`.
    """
    with _memory_for(where):
        for page in read_pages(data, where=where):
            cells = cells_of(page)
            figure = _extract(page, cells, all_ink(cells), 0, None)
            if figure is not None:
                return figure
    raise _empty(where)


@contextlib.contextmanager
def _memory_for(where: str) -> Iterator[None]:
    """Say in our words that memory does not suffice for a drawing."""
    try:
        yield
    except MemoryError as error:
        raise DrawingError(
            f"{where}: too little memory to unpack it", hint="save it at a lower resolution"
        ) from error


def _too_many(where: str, what: str) -> DrawingError:
    return DrawingError(
        f"{where}: {what} are {current().told('figures')}",
        hint=f"look at it: perhaps it is no drawing; {raising('figures')}",
    )


def _empty(where: str) -> DrawingError:
    return DrawingError(
        f"{where}: the page is empty, no ink found", hint="open the file and look at it"
    )


def _cut_page(page: Page, where: str, boxes: Sequence[Box] | None) -> list[FigureImage]:
    cells = cells_of(page)
    parts = parts_of(cells.ink)
    captions = find_captions(page, cells, parts)
    turn = _turn_of(captions)
    if boxes is not None:
        return _cut_boxes(page, cells, parts, captions, boxes, where)
    figures = []
    for group in group_parts(cells, parts, captions):
        own: Mask = np.zeros(len(parts), dtype=np.bool_)
        own[group] = True
        figure = _extract(page, cells, parts.where(own), turn, None)
        if figure is not None:
            figures.append(figure)
    order = reading_order([figure.box for figure in figures], turn)
    return [figures[i] for i in order]


def _cut_boxes(
    page: Page,
    cells: Cells,
    parts: Parts,
    captions: Sequence[Caption],
    boxes: Sequence[Box],
    where: str,
) -> list[FigureImage]:
    turn = _turn_of(captions)
    no_caption = parts.where(~captioned(parts, captions))
    figures = []
    for box in boxes:
        limit = np.clip(np.rint(np.array(box, np.float64) / page.scale), 0, [*page.raster.size] * 2)
        limit = limit.astype(np.int64)
        x0, y0 = limit[:2] // cells.step
        x1, y1 = -(-limit[2:] // cells.step)
        keep = np.zeros_like(no_caption)
        keep[y0:y1, x0:x1] = no_caption[y0:y1, x0:x1]
        figure = _extract(page, cells, keep, turn, limit)
        if figure is None:
            raise DrawingError(
                f"{where}: no ink in the box {' '.join(map(str, box))}",
                hint="boxes are x0 y0 x1 y1 in pixels of the sheet, top left first",
            )
        figures.append(figure)
    return figures


def _turn_of(captions: Sequence[Caption]) -> int:
    """Return the turn that most captions ask for, weighed by how sure they are."""
    votes = {0: 1e-9}
    for caption in captions:
        if caption.turn == 0 or caption.likeness >= TURNING:
            votes[caption.turn] = votes.get(caption.turn, 0.0) + caption.likeness
    return max(votes, key=lambda turn: votes[turn])


def _extract(
    page: Page, cells: Cells, keep: Mask, turn: int, limit: Ints | None
) -> FigureImage | None:
    """Cut the kept cells out of the page; other ink within their box becomes paper.

    Args:
        keep: `(h, w)`: the cells of this figure.
        limit: (4,) a box in pixels of the unpacked page that is not to be left.
    """
    if not keep.any():
        return None
    columns, rows = np.flatnonzero(keep.any(0)), np.flatnonzero(keep.any(1))
    frame = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * cells.step
    low = np.maximum(frame[:2], 0 if limit is None else limit[:2])
    high = np.minimum(frame[2:], page.raster.size if limit is None else limit[2:])
    if (low >= high).any():
        return None
    x0, y0, x1, y1 = (int(v) for v in (*low, *high))
    found = page.raster.figure((x0, y0, x1, y1), cells.ink & ~keep, cells.step, turn)
    if found is None:
        return None
    box, pixels = found
    return FigureImage(pixels=pixels, box=_on_sheet(box, page), turned=turn)


def _on_sheet(box: Sequence[float], page: Page) -> Box:
    width, height = page.size
    x0, y0, x1, y1 = (round(float(v) * page.scale) for v in box)
    return Box(x0, y0, max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1))
