"""Uploaded drawings: in memory only, and only so many."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import PurePosixPath

from edge_retrieval.arrays import Embeddings
from edge_retrieval.search import Query
from edge_retrieval.server.answers import Refused

NAME = 120
"""Characters of a name that are kept."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """An uploaded drawing.

    Attributes:
        name: What the user calls it.
        data: The file's bytes.
        query: Its figures.
        pictures: A PNG of each.
        embeddings: ``(F, D)``, one row for each.
        fingerprint: Of the encoder that made them.
        id: What requests call it: nobody can guess it.
    """

    name: str
    data: bytes
    query: Query
    pictures: tuple[bytes, ...]
    embeddings: Embeddings
    fingerprint: str
    id: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        pixels = sum(figure.pixels.nbytes for figure in self.query.figures)
        return len(self.data) + pixels + sum(map(len, self.pictures)) + self.embeddings.nbytes


class Drawings:
    """The drawings that are kept; the one that was not used longest goes first.

    Args:
        count: How many, at most.
        size: Their bytes, at most.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        self._kept: OrderedDict[str, Drawing] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, drawing: Drawing) -> None:
        """Keep a drawing; let others go where there is no room, but never this one."""
        with self._lock:
            self._kept[drawing.id] = drawing
            self._used += drawing.size
            while len(self._kept) > 1 and (
                len(self._kept) > self._count or self._used > self._size
            ):
                _, gone = self._kept.popitem(last=False)
                self._used -= gone.size

    def get(self, name: str) -> Drawing:
        """Return a drawing by its id.

        Raises:
            Refused: It is not here, or not any more.
        """
        with self._lock:
            drawing = self._kept.get(name)
            if drawing is None:
                raise Refused(
                    HTTPStatus.NOT_FOUND,
                    "this drawing is not kept any more",
                    "send the drawing again",
                )
            self._kept.move_to_end(name)
            return drawing


def kind_of(data: bytes) -> str | None:
    """Return what a file is by its first bytes: "png", "pdf"; None: nothing that is taken.

    Pillow alone would try every format that it knows, and some of those start other programs.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if b"%PDF-" in data[:1024]:
        return "pdf"
    return next((kind for begin, kind in _BEGINNINGS if data.startswith(begin)), None)


_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"BM", "bmp"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)


def clean_name(name: str) -> str:
    """Return the last part of a path that a client gave, as one line of bounded length."""
    last = PurePosixPath(name.replace("\\", "/")).name
    shown = "".join(char for char in last if char.isprintable())
    return shown[-NAME:].strip() or "drawing"
