"""Holding every byte of a register against what was recorded of it."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import BundleError, RegisterError
from edge_retrieval.register.columns import (
    COLUMNS,
    load_columns,
    same_columns,
    state_of_columns,
)
from edge_retrieval.register.database import SCHEMA, Database
from edge_retrieval.register.files import BUNDLE, DATABASE, RowReader, pictures_name, vectors_name
from edge_retrieval.register.manifest import damages_of_manifest
from edge_retrieval.register.reading import FIGURE, picture_of_schema_1
from edge_retrieval.register.sharing import size_and_crc
from edge_retrieval.register.state import HEAD, digest_of, read_head, read_head_or_none
from edge_retrieval.register.tabling import make_columns


def damages(
    folder: Path,
    database: Database,
    vectors: Embeddings,
    pictures: RowReader,
    old: Database | None,
) -> Iterator[str]:
    """Yield what is wrong, a line each.

    Args:
        folder: The register.
        database: Of it, holding a snapshot.
        vectors: ``(N, D)``, all its vectors.
        pictures: Reads the file of pictures.
        old: Its database of schema 1, where it is of that; else None.
    """
    yield from damages_of_manifest(folder)
    try:
        Bundle.open(folder / BUNDLE)
    except BundleError as error:
        yield str(error)
    try:
        require_columns(folder)
    except RegisterError as error:
        yield str(error)
    try:
        read_head(folder)
    except ValueError as error:
        yield f"{folder / HEAD}: damaged: {error}"
    from edge_retrieval.index.caches import faults

    yield from faults(folder)
    found = list(dict.fromkeys(_damages_of_records(database, old)))
    yield from found
    if not found and old is None and not _file_is_as_told(folder, database.path):
        yield f"{database.path}: damaged: a byte outside its records has changed"
    try:
        with database.doubting():
            yield from _damages_of_vectors(folder, database, vectors)
            yield from _damages_of_pictures(folder, database, pictures, old)
    except RegisterError as error:
        if str(error) not in found:
            yield str(error)


def require_columns(folder: Path) -> None:
    """Refuse columns that are damaged, or of another register.

    Those of an earlier state are what a kill leaves; nobody reads them.

    Raises:
        RegisterError: They are.
    """
    load_columns(folder)
    kept = state_of_columns(folder)  # before the database: that may only be ahead of them
    try:
        with contextlib.closing(Database.open(folder / DATABASE)) as database:
            state = database.state() if database.schema == SCHEMA else None
    except RegisterError:
        return  # told by whoever needs it
    if kept is None or state is None or kept == state:
        return
    head = read_head_or_none(folder)
    rests = head is not None and head.database_bytes > 0 and head.generation == state.generation
    if kept.generation >= state.generation or (rests and state_of_columns(folder) == kept):
        raise RegisterError(
            f"{folder / COLUMNS}: damaged: not of this register as it stands",
            hint="delete it: it is made again from the database",
        )


def _file_is_as_told(folder: Path, path: Path) -> bool:
    """Tell whether the database's file, if at rest, has the checksum that the head tells."""
    try:
        head = read_head(folder)
        if head is None or not head.database_bytes:
            return True
        found = size_and_crc(path)
        return found == (head.database_bytes, head.database_crc) or read_head(folder) != head
    except ValueError:
        return True


def _damages_of_records(database: Database, old: Database | None) -> Iterator[str]:
    """Yield what is wrong in the database: its structure, then record by record."""
    try:
        with database.doubting():
            yield from _damages_of_tables(database, old)
    except RegisterError as error:
        yield str(error)


def _damages_of_tables(database: Database, old: Database | None) -> Iterator[str]:
    for (line,) in (old or database).all("PRAGMA integrity_check"):
        if line != "ok":
            yield f"{database.path}: damaged: {line}"
    for key, *sheet, digest in database.each("SELECT * FROM sheets"):
        if digest != digest_of(*sheet):
            yield f"{database.path}: damaged: sheet {key}"
    for *figure, digest in database.each(f"SELECT {FIGURE}, digest FROM figures f"):
        if digest != digest_of(*figure):
            yield f"{database.path}: damaged: figure {figure[0]}"
    made = make_columns(database)
    kept = load_columns(database.path.parent, database.state())
    if kept is not None and not same_columns(kept, made):
        yield f"{database.path.parent / COLUMNS}: damaged: it tells other than the database"


def _damages_of_vectors(folder: Path, database: Database, vectors: Embeddings) -> Iterator[str]:
    path = folder / vectors_name(database.state().epoch)
    for first, rows, sha256, crc in database.all("SELECT first, rows, sha256, crc FROM batches"):
        data = np.ascontiguousarray(vectors[first : first + rows]).tobytes()
        if zlib.crc32(data) != crc or hashlib.sha256(data).hexdigest() != sha256:
            yield f"{path}: damaged: rows {first} to {first + rows - 1}"


def _damages_of_pictures(
    folder: Path, database: Database, pictures: RowReader, old: Database | None
) -> Iterator[str]:
    if old is not None:
        for (row,) in old.each("SELECT row FROM figures ORDER BY row"):
            picture_of_schema_1(old, row)
        return
    path = folder / pictures_name(database.state().epoch)
    sql = "SELECT row, picture, picture_bytes, picture_crc FROM figures ORDER BY row"
    for row, offset, length, crc in database.each(sql):
        data = pictures.bytes_at(offset, length)
        if len(data) != length or zlib.crc32(data) != crc:
            yield f"{path}: damaged: the picture of row {row}"
