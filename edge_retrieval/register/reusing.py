"""Figures of a sheet whose very bytes the register holds: copied, not cut and embedded again."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.register.database import Database
from edge_retrieval.register.files import DTYPE, width_of
from edge_retrieval.register.reading import FIGURE
from edge_retrieval.register.state import digest_of
from edge_retrieval.register.writing import Store
from edge_retrieval.sources.design import Box, Sheet


class KnownFigure(NamedTuple):
    """A figure that the register holds; `vector` is (D,) float32."""

    box: Box
    turned: int
    png: bytes
    vector: NDArray[np.float32]


class SheetReader:
    """Finds sheets by their bytes, for the one writer.

    A source may give boxes, or say that a sheet is one figure: then only figures are copied that
    agree with it. What it leaves to the cut is copied as it was cut, or boxed, the first time.

    Args:
        database: Opened for writing.
        store: The files of vectors and pictures.
    """

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def sheet_of(self, sha256: str) -> int | None:
        """Return the id of the first sheet with these bytes."""
        found = self._database.value("SELECT min(id) FROM sheets WHERE sha256 = ?", sha256)
        return None if found is None else int(found)

    def lives(self, sha256: str) -> bool:
        """Tell whether a design that was not removed has such a sheet."""
        sql = "SELECT 1 FROM sheets s JOIN designs d ON d.id = s.design WHERE s.sha256 = ?"
        return self._database.one(f"{sql} AND d.dead = 0", sha256) is not None

    def holds(self, sha256: str, sheet: Sheet) -> bool:
        """Tell whether figures of such a sheet are committed that would do for this one."""
        key = self.sheet_of(sha256)
        if key is None:
            return False
        boxes = self._database.all("SELECT x0, y0, x1, y1 FROM figures WHERE sheet = ?", key)
        return _agree([Box(*box) for box in boxes], sheet)

    def figures(self, sha256: str, sheet: Sheet) -> list[KnownFigure] | None:
        """Return the committed figures of such a sheet, in order.

        None if there are none, or none that would do, or if anything of them is damaged.
        """
        sql = f"SELECT {FIGURE}, f.digest FROM figures f WHERE f.sheet = ? ORDER BY f.figure"
        figures: list[KnownFigure] = []
        for record in self._database.all(sql, self.sheet_of(sha256)):
            if record[14] != digest_of(*record[:14]):
                return None
            row, (crc, offset, length, picture_crc) = record[0], record[10:14]
            width = width_of(self._store.dim)
            with self._store.vectors.open("rb") as file:
                file.seek(row * width)
                vector = file.read(width)
            with self._store.pictures.open("rb") as file:
                file.seek(offset)
                png = file.read(length)
            if (crc, picture_crc) != (zlib.crc32(vector), zlib.crc32(png)):
                return None
            figures.append(
                KnownFigure(Box(*record[4:8]), record[8], png, np.frombuffer(vector, DTYPE))
            )
        return figures if _agree([figure.box for figure in figures], sheet) else None


def _agree(boxes: list[Box], sheet: Sheet) -> bool:
    """Whether figures of these boxes are those of a sheet, as far as its source says."""
    if sheet.boxes is None:
        return len(boxes) == 1 if sheet.single else bool(boxes)
    return len(boxes) == len(sheet.boxes) and all(
        box.x0 >= limit.x0 and box.y0 >= limit.y0 and box.x1 <= limit.x1 and box.y1 <= limit.y1
        for box, limit in zip(boxes, sheet.boxes, strict=True)
    )
