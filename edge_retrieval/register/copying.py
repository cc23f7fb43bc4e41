"""Copying whole designs from a register to another place: what compact, merge and repair share."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import RowReader
from edge_retrieval.register.reading import (
    FIGURE,
    design_digest,
    picture_of_schema_1,
    read_label_tree,
)
from edge_retrieval.register.state import digest_of, mend_hint
from edge_retrieval.register.writing import (
    NewFigure,
    Store,
    put_design,
    put_figures,
    put_sheet,
)
from edge_retrieval.sources.design import Box, Design, Problem
from edge_retrieval.taxonomy import LabelPath

TOGETHER = 1024
"""So many figures are written together."""


class WholeFigure(NamedTuple):
    """A figure with all that the register holds of it; `vector` is (D,) float32."""

    sheet: int
    box: Box
    turned: int
    caption: str
    png: bytes
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class WholeDesign:
    """A design with all that the register holds of it.

    Attributes:
        design: Its record; it has no sheets of its own to read.
        source: Name of what was indexed.
        sheets: Name and SHA-256 of each sheet.
        figures: In the order of their numbers; `sheet` is a place in `sheets`.
    """

    design: Design
    source: str
    sheets: tuple[tuple[str, str], ...]
    figures: tuple[WholeFigure, ...]


class DesignReader:
    """Reads whole designs; each record, vector and picture is held against its checksum.

    Args:
        database: Holding a snapshot.
        vectors: The file of vectors.
        pictures: The file of pictures.
        old: The database with the pictures of a register of schema 1; else None.
    """

    def __init__(
        self, database: Database, vectors: RowReader, pictures: RowReader, old: Database | None
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._pictures = pictures
        self._old = old

    @cached_property
    def _paths(self) -> dict[int, LabelPath]:
        return read_label_tree(self._database)

    def keys(self, *, by_class: bool) -> list[int]:
        """Return the ids of the living designs, as they were added or by class and number."""
        found = self._database.all("SELECT id, node, number FROM designs WHERE dead = 0")
        if by_class:
            found.sort(key=lambda record: (self._paths.get(record[1], ()), record[2]))
        return [key for key, _, _ in found]

    def problems(self) -> list[Problem]:
        """Return what could not be read while adding."""
        return [Problem(*found) for found in self._database.all("SELECT * FROM problems")]

    def read(self, key: int) -> WholeDesign:
        """Return the design of that id.

        Raises:
            RegisterError: Something of it is damaged.
        """
        one = self._database.one("SELECT * FROM designs WHERE id = ?", key)
        sql = "SELECT * FROM sheets WHERE id IN (SELECT sheet FROM figures WHERE design = ?)"
        sheets = self._database.all(f"{sql} ORDER BY id", key)
        sql = f"SELECT {FIGURE}, f.digest FROM figures f WHERE design = ? ORDER BY figure"
        figures = self._database.all(sql, key)
        if one is None:
            raise damaged(self._database, f"design {key}")
        return self.whole(one, self._paths.get(one[2]), sheets, figures)

    def whole(
        self,
        one: Sequence[Any],
        labels: LabelPath | None,
        sheets: Sequence[Sequence[Any]],
        figures: Sequence[Sequence[Any]],
    ) -> WholeDesign:
        """Put a design together from its records, as the tables hold them.

        Raises:
            RegisterError: Something of it is damaged.
        """
        _, number, _, source, dead, text, digest = one
        if labels is None or digest != design_digest(number, labels, source, dead, text):
            raise damaged(self._database, f"design {number}")
        for _, *record, seal in sheets:
            if seal != digest_of(*record):
                raise damaged(self._database, f"sheet {record[1]} of {number}")
        places = {sheet[0]: at for at, sheet in enumerate(sheets)}
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(text).items()
        }
        return WholeDesign(
            design=Design(number=number, labels=tuple(labels), sheets=(), **facts),
            source=source,
            sheets=tuple((sheet[2], sheet[3]) for sheet in sheets),
            figures=tuple(self._figure(record, places) for record in figures),
        )

    def _figure(self, record: Sequence[Any], places: dict[int, int]) -> WholeFigure:
        row, _, sheet, _, *box, turned, caption, crc, offset, length, mark = record[:14]
        if record[14] != digest_of(*record[:14]) or sheet not in places:
            raise damaged(self._database, f"figure {row}")
        [vector] = self._vectors.read(np.array([row]))
        if zlib.crc32(vector.tobytes()) != crc:
            raise damaged(self._database, f"the vector of row {row}")
        if self._old is not None:
            png = picture_of_schema_1(self._old, row)
        else:
            png = self._pictures.bytes_at(offset, length)
            if len(png) != length or zlib.crc32(png) != mark:
                raise damaged(self._database, f"the picture of row {row}")
        return WholeFigure(places[sheet], Box(*box), turned, caption, png, vector)


class Copier:
    """Writes whole designs within the open transaction of a database.

    Args:
        database: In a transaction.
        store: The files that its rows go to.
    """

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._pending: list[NewFigure] = []
        self._vectors: list[NDArray[np.float32]] = []
        self.flushed = False  # since the caller looked last

    def put(self, whole: WholeDesign) -> None:
        """Write a new design."""
        key = put_design(self._database, whole.design, source=whole.source)
        self.put_figures_of(whole, key, 0)

    def put_figures_of(self, whole: WholeDesign, key: int, numbered: int) -> None:
        """Write sheets and figures of a design that has an id, and `numbered` figures already."""
        sheets = [put_sheet(self._database, key, *sheet) for sheet in whole.sheets]
        for number, figure in enumerate(whole.figures, start=numbered + 1):
            place = (figure.box, figure.turned, figure.caption, figure.png)
            self._pending.append(NewFigure(key, sheets[figure.sheet], number, *place))
            self._vectors.append(figure.vector)
        if len(self._pending) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, so that the transaction may end."""
        if self._pending:
            put_figures(self._database, self._store, self._pending, np.stack(self._vectors))
            self._pending, self._vectors, self.flushed = [], [], True


def only_sheets(whole: WholeDesign, keep: Sequence[bool]) -> WholeDesign:
    """Return the design with some of its sheets, and their figures."""
    places = {at: new for new, at in enumerate(np.flatnonzero(keep).tolist())}
    return replace(
        whole,
        sheets=tuple(whole.sheets[at] for at in places),
        figures=tuple(
            figure._replace(sheet=places[figure.sheet])
            for figure in whole.figures
            if figure.sheet in places
        ),
    )


def damaged(database: Database, what: str) -> RegisterError:
    """Say that something of a register is damaged."""
    return RegisterError(f"{database.path}: damaged: {what}", hint=mend_hint(database.path.parent))
