"""One snapshot of a register, held open: its database, its files and its columns."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import COLUMNS, Columns, load_columns, save_columns
from edge_retrieval.register.database import SCHEMA, Database
from edge_retrieval.register.files import (
    DATABASE,
    LOCK,
    OLD_VECTORS,
    READY,
    RowReader,
    finish_replacing,
    map_vectors,
    pictures_name,
    vectors_name,
    writer_lock,
)
from edge_retrieval.register.reading import picture_of_schema_1, read_ends, read_place_of_picture
from edge_retrieval.register.records import DesignRecord
from edge_retrieval.register.state import State, mend_hint, read_head_or_none, require_head


class Snapshot:
    """What a register was when this was opened or renewed.

    Args:
        folder: The register.
        dim: Numbers in a vector.
        fingerprint: Of its bundle.

    Attributes:
        database: Holding a transaction; of a register of schema 1, a copy in memory.
        old: The database of a register of schema 1, which has its pictures; else None.
        state: Where the register stood.
        vectors: ``(N, D)`` float32, mapped.
        rows: Reads single vectors from the file.
        pictures: Reads the file of pictures.
        closed: It was let go.
        designs: Records that were read of it, by number; whoever reads them keeps them few.

    Raises:
        RegisterError: Something that was committed is gone, or a file is missing or short.
    """

    def __init__(self, folder: Path, dim: int, fingerprint: str) -> None:
        self.folder = folder
        self._dim = dim
        self._fingerprint = fingerprint
        self.closed = False
        self.state: State
        self.vectors: Embeddings
        self.rows: RowReader
        self.pictures: RowReader
        self._connect()
        try:
            self._hold()
        except BaseException:
            self.database.close()
            raise

    def _connect(self) -> None:
        self.old: Database | None = None
        if (self.folder / READY).exists():  # a kill came before it took its place
            with writer_lock(self.folder / LOCK):
                finish_replacing(self.folder)
        self.database = Database.open(self.folder / DATABASE)
        if self.database.schema < SCHEMA:
            from edge_retrieval.register.schema1 import convert

            self.old = self.database
            self.database = convert(self.old, self.folder, self._dim, self._fingerprint)

    def renew(self) -> None:
        """See what has been committed since."""
        if self.old is not None:  # it may have been brought up to date
            self.old.close()
            self._connect()
        self.database.fold()
        self._hold()

    def _hold(self) -> None:
        self.designs: dict[str, DesignRecord] = {}
        head = read_head_or_none(self.folder)  # before the database: it may be ahead of the head
        for last_try in (False, True):
            self.state = self.database.hold()
            try:
                self._open_files()
                break
            except RegisterError:
                # Compacted this moment: the files of the epoch just read are gone. Read it again.
                if last_try or self.database.hold().epoch == self.state.epoch:
                    raise
        if self.old is None and head is not None:
            require_head(self.database.path, self.state, head)
        self._trusted: set[int] = set()
        self._columns: Columns | None = None

    def _open_files(self) -> None:
        rows, _ = read_ends(self.database)
        path = self.folder / vectors_name(self.state.epoch)
        pictures = self.folder / pictures_name(self.state.epoch)
        if self.old is not None:
            path = pictures = self.folder / OLD_VECTORS
        self.vectors = map_vectors(path, rows, self._dim)
        self.rows = RowReader(path, self._dim)
        self.pictures = RowReader(pictures, self._dim)

    def release(self) -> None:
        """Let go of the transaction: a snapshot held would keep the writer's log from ending."""
        self.database.rollback()

    def close(self) -> None:
        """Let go of everything."""
        self.closed = True
        self.database.close()
        if self.old is not None:
            self.old.close()
        self.rows.close()
        self.pictures.close()
        self.vectors = self.vectors[:0].copy()

    @property
    def columns(self) -> Columns:
        """What filters and grouping need; kept on disk for the next who opens this state."""
        if self._columns is None:
            with contextlib.suppress(RegisterError):  # a cache: made anew
                kept = load_columns(self.folder, self.state)
                self._columns = None if kept is None else self._require_as_many(kept)
        if self._columns is None:
            from edge_retrieval.register.tabling import make_columns

            self._columns = self._require_as_many(make_columns(self.database))
            if self.old is None and self._is_newest():
                save_columns(self.folder, self._columns, self.state)
                if not self._is_newest():  # a writer was faster: these may be in the place of its
                    with contextlib.suppress(OSError):
                        (self.folder / COLUMNS).unlink()
        return self._columns

    def _require_as_many(self, columns: Columns) -> Columns:
        """Return columns that tell of as many figures as there are vectors; refuse others."""
        if len(columns.design_of) != len(self.vectors):
            raise RegisterError(
                f"{self.database.path}: damaged: {len(self.vectors)} vectors in batches, "
                f"{len(columns.design_of)} figures",
                hint=mend_hint(self.folder),
            )
        return columns

    def _is_newest(self) -> bool:
        """Tell whether nothing newer is known to have been committed."""
        head = read_head_or_none(self.folder)
        return head is None or head.generation <= self.state.generation

    def read_rows(self, rows: Iterable[int] | NDArray[np.int64]) -> Embeddings:
        """Return ``(n, D)``, some vectors, each held against its checksum."""
        wanted = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        found = self.rows.read(wanted)
        marks = self.columns.crc_of[wanted].tolist()
        for place, row, mark in zip(found, wanted.tolist(), marks, strict=True):
            if zlib.crc32(place) != mark:
                raise self._damaged_rows(row, row + 1)
        return found

    def check_batches_of(self, start: int, stop: int) -> None:
        """Hold the batches that have rows in [start, stop) against their checksums, each once."""
        if start >= stop:
            return
        starts = self.columns.batch_first
        first = int(np.searchsorted(starts, start, "right")) - 1
        last = int(np.searchsorted(starts, stop - 1, "right"))
        for batch in range(first, last):
            if batch in self._trusted:
                continue
            begin = int(starts[batch])
            end = int(starts[batch + 1]) if batch + 1 < len(starts) else len(self.vectors)
            if zlib.crc32(self.vectors[begin:end].data) != self.columns.batch_crc[batch]:
                raise self._damaged_rows(begin, end)
            self._trusted.add(batch)

    def _damaged_rows(self, start: int, stop: int) -> RegisterError:
        path = self.folder / vectors_name(self.state.epoch)
        return RegisterError(
            f"{path}: damaged: rows {start} to {stop - 1}", hint=mend_hint(self.folder)
        )

    def picture(self, row: int) -> bytes:
        """Return the PNG of a figure, held against its checksum."""
        if self.old is not None:
            return picture_of_schema_1(self.old, row)
        offset, length, crc = read_place_of_picture(self.database, row)
        data = self.pictures.bytes_at(offset, length)
        if len(data) != length or zlib.crc32(data) != crc:
            path = self.folder / pictures_name(self.state.epoch)
            raise RegisterError(
                f"{path}: damaged: the picture of row {row}", hint=mend_hint(self.folder)
            )
        return data
