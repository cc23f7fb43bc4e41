"""`designs.sqlite`: what a register knows of its designs, in transactions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import RegisterError

SCHEMA = 1
_TABLES = """
CREATE TABLE nodes (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL);
CREATE UNIQUE INDEX nodes_by_name ON nodes (parent, name);
CREATE TABLE designs (id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE, node INTEGER NOT NULL,
    facts TEXT NOT NULL, digest BLOB NOT NULL);
CREATE INDEX designs_by_node ON designs (node);
CREATE TABLE sheets (id INTEGER PRIMARY KEY, design INTEGER NOT NULL, name TEXT NOT NULL,
    sha256 TEXT NOT NULL, digest BLOB NOT NULL);
CREATE UNIQUE INDEX sheets_by_sha256 ON sheets (sha256, design);
CREATE TABLE figures (row INTEGER PRIMARY KEY, design INTEGER NOT NULL, sheet INTEGER NOT NULL,
    figure INTEGER NOT NULL, x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL,
    y1 INTEGER NOT NULL, turned INTEGER NOT NULL, caption TEXT NOT NULL, digest BLOB NOT NULL);
CREATE INDEX figures_by_design ON figures (design);
CREATE INDEX figures_by_sheet ON figures (sheet);
CREATE TABLE pictures (row INTEGER PRIMARY KEY, png BLOB NOT NULL, digest BLOB NOT NULL);
CREATE TABLE batches (first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE problems (place TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (place, reason))
    WITHOUT ROWID;
"""
DAMAGED = "copy the register again, or index the designs anew"


class Database:
    """The connection to `designs.sqlite`. Every error of SQLite leaves it as a `RegisterError`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, path: Path) -> None:
        """Write an empty database."""
        with _translated(path), contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"PRAGMA user_version = {SCHEMA}; {_TABLES}")

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Database:
        """Open for reading, or for the one writer.

        A reader, too, opens for writing where it may: it must be able to undo what a killed writer
        left half-done. It is then forbidden to write by `query_only`.
        """
        if not path.is_file():
            raise RegisterError(f"{path}: missing", hint=DAMAGED)
        may_write = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        if write and not may_write:
            raise RegisterError(
                f"{path.parent}: no permission to write there",
                hint="copy the register to a folder that you may write to; searching works here",
            )
        uri = f"{path.absolute().as_uri()}?mode={'rw' if may_write else 'ro'}"
        with _translated(path):
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=60.0, check_same_thread=False
            )
            database = cls(path, connection)
            connection.execute(f"PRAGMA query_only = {'OFF' if write else 'ON'}")
            # A batch that spills would lock readers out long before it commits.
            connection.execute("PRAGMA cache_spill = OFF")
            schema = database.value("PRAGMA user_version")
        if schema != SCHEMA:
            raise RegisterError(
                f"{path}: schema {schema}, this version reads {SCHEMA}",
                hint="pip install --upgrade edge-retrieval" if schema > SCHEMA else DAMAGED,
            )
        return database

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    __del__ = close

    def all(self, sql: str, *values: object) -> list[Any]:
        """Run one statement and return all its rows, so that no reader's lock stays behind."""
        with _translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Any | None:
        """Run one statement and return its first row, if any."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def value(self, sql: str, *values: object) -> Any:
        """Run one statement and return the first value of its first row; None if there is none."""
        row = self.one(sql, *values)
        return row[0] if row else None

    def count(self, sql: str, *values: object) -> int:
        """Run a statement that counts."""
        return int(self.value(sql, *values))

    def rows(self, sql: str, *values: object) -> NDArray[np.int64]:
        """Run a statement that yields one number per row."""
        return np.array([row for (row,) in self.all(sql, *values)], dtype=np.int64)

    def insert(self, sql: str, *values: object) -> int:
        """Run one INSERT and return the number of the new record."""
        with _translated(self.path):
            return self._connection.execute(sql, values).lastrowid or 0

    def begin(self) -> None:
        """Begin a transaction as the writer."""
        self.all("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make everything since `begin` stand for ever."""
        self.all("COMMIT")

    def rollback(self) -> None:
        """Forget everything since `begin`."""
        if self._connection.in_transaction:
            self.all("ROLLBACK")


def digest_of(*values: object) -> bytes:
    """Return eight bytes that change when a value does."""
    digest = hashlib.blake2b(digest_size=8)
    for value in values:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "wait until the other process has finished" if "locked" in str(error) else DAMAGED
        if "readonly" in str(error) or "unable to open" in str(error):
            hint = "copy the register to a folder that you may write to, and open it there once"
        if "full" in str(error):
            hint = "make room on the disk, then add the same designs again"
        raise RegisterError(f"{path}: {error}", hint=hint) from error
    except (sqlite3.DatabaseError, UnicodeError) as error:
        raise RegisterError(f"{path}: damaged: {error}", hint=DAMAGED) from error
