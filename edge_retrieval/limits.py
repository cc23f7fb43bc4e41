"""How much of a file from strangers is read: beyond, it is refused, and the refusal names a flag.

The limits hold for whatever runs `within` them; elsewhere, and in other threads, the usual ones do.
A process that cuts sheets for another is told those of the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, BinaryIO

from edge_retrieval.errors import ConfigError

MAX_PIXELS = 120_000_000
"""An A0 sheet at 300 dpi has 139 million, a patent page 8.4 million."""
MAX_PAGES = 500
PAGES_TOGETHER = 40
"""500 pages of a patent hold 35 times the pixels that one may have."""
MAX_FIGURES = 2_000
"""A sheet of patents has fewer than 20; a page of dots has thousands."""
MAX_MB = 512
"""Above it, what is read into memory in one piece is a mistake or a bomb."""
MAX_DEPTH = 4
"""A weekly tar of ZIPs in a ZIP is 3 archives deep."""
MAX_MEMBERS = 1_000_000
MAX_ELEMENTS = 2_000_000
MAX_SECONDS = 60
MAX_ROWS = 5_000_000
MAX_OBJECT = 8 << 20
PIECE = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class Limits:
    """The most that is read; each is raised by the flag of its name, `--max-pixels`.

    Attributes:
        pixels: Of a page, before it is unpacked.
        pages: Of a file; together they hold at most `PAGES_TOGETHER` times `pixels`.
        figures: Of a file, and boxes that a source gives for it.
        mb: MiB of a file, or of a member of an archive, that is held in memory.
        seconds: To render a page of a PDF.
        depth: Archives in archives.
        members: Of an archive.
        elements: Of an XML document.
        rows: Of a metadata table.
        object: Characters of a JSON object that is read from a stream.
    """

    pixels: int = MAX_PIXELS
    pages: int = MAX_PAGES
    figures: int = MAX_FIGURES
    mb: int = MAX_MB
    seconds: int = MAX_SECONDS
    depth: int = MAX_DEPTH
    members: int = MAX_MEMBERS
    elements: int = MAX_ELEMENTS
    rows: int = MAX_ROWS
    object: int = MAX_OBJECT

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ConfigError(
                    f"{flag(field.name)} {getattr(self, field.name)}", hint="give 1 or more"
                )

    @property
    def bytes(self) -> int:
        """The same as `mb`."""
        return self.mb << 20

    def told(self, name: str) -> str:
        """Say a limit and what raises it: "more than 500 (--max-pages)"."""
        return f"more than {getattr(self, name):,} ({flag(name)})"

    def too_large(self) -> str:
        """Say that a file, or what an archive unpacks to, is too large, and what raises it."""
        return f"larger than {self.mb:,} MiB ({flag('mb')})"


_CURRENT: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039  (frozen)


def current() -> Limits:
    """Return the limits that hold here."""
    return _CURRENT.get()


@contextlib.contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Let other limits hold; not around a `yield`, for whoever asks has limits of their own."""
    before = _CURRENT.set(limits)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def read_within(file: BinaryIO) -> bytes:
    """Return what a file holds, and at most one byte more than may be held of it.

    In pieces: memory for all that is asked for at once would be taken before anything is read.
    """
    pieces, left = [], current().bytes + 1
    while left and (piece := file.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def flag(name: str) -> str:
    """Return the flag that raises a limit."""
    return f"--max-{name}"


def raising(name: str) -> str:
    """Return the hint how to raise a limit."""
    usual: Any = getattr(Limits(), name)
    return f"if it is meant to be so, index and search take {flag(name)} {2 * usual}"
