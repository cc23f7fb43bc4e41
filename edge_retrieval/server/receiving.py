"""A file that was sent -> a drawing: its figures, their pictures and embeddings."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Generator, Iterator, Sequence
from http import HTTPStatus

from edge_retrieval.drawing import FigureImage, to_png, whole_sheet
from edge_retrieval.drawing.cut import cut_pages
from edge_retrieval.drawing.decode import Page, read_pages
from edge_retrieval.encoder import embed_figures
from edge_retrieval.errors import DrawingError
from edge_retrieval.query import Query, QueryFile
from edge_retrieval.server.answers import Refused
from edge_retrieval.server.drawings import Drawing, kind_of
from edge_retrieval.server.held import HeldRegister
from edge_retrieval.server.settings import ServeSettings


def read_drawing(
    held: HeldRegister, data: bytes, name: str, settings: ServeSettings, *, whole: bool
) -> Drawing:
    """Read an uploaded file, cut it into its figures and embed them.

    Args:
        held: Gives the encoder.
        data: The file.
        name: What the user calls it.
        settings: The limits.
        whole: Take it as one figure: do not cut it.

    Raises:
        Refused: It is of no kind that is read, or too much is drawn on it.
        DrawingError: It cannot be read.
    """
    kind = kind_of(data)
    if kind is None:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name}: not an image that can be read",
            "use PNG, TIFF, JPEG, WebP, BMP, GIF or PDF",
        )
    with _ONE_PDF if kind == "pdf" else contextlib.nullcontext():
        figures = _figures(data, name, settings, whole)
    if len(figures) > settings.figures:
        raise DrawingError(
            f"{name}: {len(figures)} figures, more than {settings.figures}",
            hint="split the file into parts",
        )
    sha256 = hashlib.sha256(data).hexdigest()
    file = QueryFile(name, sha256, len(figures), whole=whole)
    return Drawing(
        name=name,
        data=data,
        query=Query(name, figures, sha256, (file,)),
        pictures=tuple(to_png(figure.pixels) for figure in figures),
        embeddings=embed_figures(held.encoder, figures),
        fingerprint=held.encoder.fingerprint,
    )


_ONE_PDF = threading.Lock()
"""PDFium must not be called from two threads at once, whatever the documents."""


def _figures(data: bytes, name: str, settings: ServeSettings, whole: bool) -> Sequence[FigureImage]:
    if whole:
        return [whole_sheet(data, where=name)]
    pages = read_pages(data, where=name)
    try:
        return cut_pages(_within(pages, settings, name), where=name)
    finally:
        if isinstance(pages, Generator):
            pages.close()  # here, not where the error that holds it is forgotten


def _within(pages: Iterator[Page], settings: ServeSettings, name: str) -> Iterator[Page]:
    """Pass pages through as long as they are not too many pixels."""
    left = settings.sheet_pixels
    for page in pages:
        pixels = page.size[0] * page.size[1]
        left -= pixels
        if pixels > settings.pixels or left < 0:
            most = settings.pixels if pixels > settings.pixels else settings.sheet_pixels
            raise DrawingError(
                f"{name}: more than {most:,} pixels",
                hint="save it at a lower resolution, or split the file into parts",
            )
        yield page
