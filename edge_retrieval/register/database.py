"""`designs.sqlite`: what a register knows of its designs, in transactions."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.sharing import File, enter, leave
from edge_retrieval.register.state import AGAIN, Head, State, digest_of, mend_hint, write_head

SCHEMA = 2
_TABLES = """
CREATE TABLE state (one INTEGER PRIMARY KEY, generation INTEGER NOT NULL, epoch INTEGER NOT NULL,
    snapshot TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE nodes (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL);
CREATE UNIQUE INDEX nodes_by_name ON nodes (parent, name);
CREATE TABLE designs (id INTEGER PRIMARY KEY, number TEXT NOT NULL, node INTEGER NOT NULL,
    source TEXT NOT NULL, dead INTEGER NOT NULL, facts TEXT NOT NULL, digest BLOB NOT NULL);
CREATE UNIQUE INDEX designs_by_number ON designs (number) WHERE dead = 0;
CREATE TABLE sheets (id INTEGER PRIMARY KEY, design INTEGER NOT NULL, name TEXT NOT NULL,
    sha256 TEXT NOT NULL, digest BLOB NOT NULL);
CREATE UNIQUE INDEX sheets_by_sha256 ON sheets (sha256, design);
CREATE TABLE figures (row INTEGER PRIMARY KEY, design INTEGER NOT NULL, sheet INTEGER NOT NULL,
    figure INTEGER NOT NULL, x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL,
    y1 INTEGER NOT NULL, turned INTEGER NOT NULL, caption TEXT NOT NULL, crc INTEGER NOT NULL,
    picture INTEGER NOT NULL, picture_bytes INTEGER NOT NULL, picture_crc INTEGER NOT NULL,
    digest BLOB NOT NULL);
CREATE INDEX figures_by_design ON figures (design);
CREATE INDEX figures_by_sheet ON figures (sheet);
CREATE TABLE batches (first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, sha256 TEXT NOT NULL,
    crc INTEGER NOT NULL, seal INTEGER NOT NULL, pictures_end INTEGER NOT NULL);
CREATE TABLE problems (place TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (place, reason))
    WITHOUT ROWID;
"""
BUSY_SECONDS = 60.0
LARGEST_VALUE = 64 << 20
"""Bytes of one value, at most: no record of ours comes near, and a crafted one must not take all
memory."""
_ODD = re.compile(r"\b(VIRTUAL|GENERATED|AS|CHECK|DEFAULT|COLLATE)\b", re.IGNORECASE)
"""What no table of ours says, and what would run code of whoever made the database."""
Given = ParamSpec("Given")
Found = TypeVar("Found")


class Database:
    """The connection to `designs.sqlite`. Every error of SQLite leaves it as a `RegisterError`.

    A reader holds one transaction from `hold` to `hold` or `close`: it sees one snapshot. The
    writer notes whatever changes what can be found; a commit that noted something is a new
    generation, with a snapshot of its own.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, schema: int = SCHEMA) -> None:
        self.path = path
        self.schema = schema
        self._connection = connection
        self._file: File | None = None
        self.tells_head = False
        self.touched: set[int] = set()  # ids of designs that were written anew
        self._did = hashlib.sha256()
        self._noted = False

    @classmethod
    def create(cls, path: Path, fingerprint: str) -> None:
        """Write an empty database; its first snapshot is that of the bundle alone."""
        with _translated(path), contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            cls(path, connection).fill(fingerprint)

    @classmethod
    def in_memory(cls, path: Path, fingerprint: str) -> Database:
        """Return an empty database that no file holds; `path` is what messages name."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        database = cls(path, connection)
        database.fill(fingerprint)
        return database

    def fill(self, fingerprint: str) -> None:
        """Make the tables, and the state before anything was added."""
        first = State(0, 0, hashlib.sha256(fingerprint.encode()).hexdigest())
        self._connection.executescript(
            f"BEGIN; PRAGMA user_version = {SCHEMA}; {_TABLES}"
            f"INSERT INTO state VALUES (1, 0, 0, '{first.snapshot}', x'{first.digest.hex()}');"
            "COMMIT;"
        )

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Database:
        """Open for reading, or for the one writer.

        A reader, too, opens for writing where it may: it must be able to take over what a killed
        writer left in the log. It is then forbidden to write by `query_only`.
        """
        if not path.is_file():
            raise RegisterError(f"{path}: missing", hint=AGAIN)
        may_write = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        if write and not may_write:
            raise RegisterError(
                f"{path.parent}: no permission to write there",
                hint="copy the register to a folder that you may write to; searching works here",
            )
        with _translated(path):
            try:
                database = cls._connect(path, "mode=rw" if may_write else "mode=ro", write=write)
            except sqlite3.OperationalError as error:
                # A log needs side files, which a read-only folder or a full disk cannot take; at
                # rest there is nothing in the log, and the file can be read as it is.
                at_rest = not _size(path.with_name(f"{path.name}-wal"))
                if write or not at_rest or "locked" in str(error):
                    raise
                database = cls._connect(path, "immutable=1", write=False)
        if database.schema > SCHEMA or database.schema < 1:
            found = database.schema
            database.close()
            raise RegisterError(
                f"{path}: schema {found}, this version reads {SCHEMA}",
                hint="pip install --upgrade edge-retrieval"
                if found > SCHEMA
                else mend_hint(path.parent),
            )
        return database

    @classmethod
    def _connect(cls, path: Path, how: str, *, write: bool) -> Database:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{how}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA query_only = {'OFF' if write else 'ON'}")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
            if write:
                connection.execute("PRAGMA synchronous = FULL")
            [schema] = connection.execute("PRAGMA user_version").fetchone()
            _require_plain(path, connection)
        except BaseException:
            connection.close()
            raise
        database = cls(path, connection, schema=int(schema))
        database._file = enter(path)
        database.tells_head = write
        return database

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._file is not None:
            leave(self._file)
            self._file = None

    __del__ = close

    def all(self, sql: str, *values: object) -> list[Any]:
        """Run one statement and return all its rows."""
        with _translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str, *values: object) -> Iterator[Any]:
        """Run one statement and yield its rows as they are read."""
        with _translated(self.path):
            for row in self._connection.execute(sql, values):  # noqa: UP028 (it would close a
                yield row  # cursor of a database that may be closed by then)

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

    @contextlib.contextmanager
    def doubting(self) -> Iterator[None]:
        """Take a value of another kind than was written for the damage that it is."""
        try:
            yield
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise RegisterError(
                f"{self.path}: damaged: {error}", hint=mend_hint(self.path.parent)
            ) from error

    def hold(self) -> State:
        """See what has been committed by now, and nothing newer until held again."""
        self.rollback()
        self.all("BEGIN")
        return self.state()

    def state(self) -> State:
        """Return where the register stands; `RegisterError` if the record is damaged."""
        found = self.all("SELECT generation, epoch, snapshot, digest FROM state")
        if len(found) == 1:
            state = State(*found[0][:3])
            if found[0][3] == state.digest:
                return state
        raise RegisterError(f"{self.path}: damaged: the state", hint=mend_hint(self.path.parent))

    def begin(self) -> None:
        """Begin a transaction as the writer."""
        self.all("BEGIN IMMEDIATE")

    def note(self, *values: object) -> None:
        """Take what a change did into the next snapshot."""
        self._did.update(digest_of(*values))
        self._noted = True

    def commit(self, *, epoch: int | None = None, generation: int | None = None) -> State:
        """Make everything since `begin` stand for ever; return where the register stands then.

        Args:
            epoch: Of the files that count from now on; None: as before.
            generation: Of what is committed; None: one more than before.
        """
        state = self.state()
        if self._noted or epoch is not None:
            chained = hashlib.sha256(bytes.fromhex(state.snapshot) + self._did.digest())
            epoch = state.epoch if epoch is None else epoch
            generation = state.generation + 1 if generation is None else generation
            state = State(generation, epoch, chained.hexdigest())
            sql = "UPDATE state SET generation = ?, epoch = ?, snapshot = ?, digest = ?"
            self.all(sql, *state, state.digest)
        self.all("COMMIT")
        if self.tells_head:
            write_head(self.path.parent, Head(state.generation, state.snapshot))
        self._forget()
        return state

    def rollback(self) -> None:
        """Forget everything since `begin`; let go of what `hold` held."""
        self._forget()
        if self._connection.in_transaction:
            self.all("ROLLBACK")

    def _forget(self) -> None:
        self._did, self._noted = hashlib.sha256(), False

    def fold(self) -> None:
        """Let go of what `hold` held, and bring the log into the file as far as others allow.

        A writer finds no moment for it while a reader holds on all the time: the log would grow
        for as long as that goes on.
        """
        self.rollback()
        with contextlib.suppress(RegisterError):  # in memory, or not to be written: as it is
            self.all("PRAGMA wal_checkpoint(PASSIVE)")

    def settle(self) -> bool:
        """Bring the log into the file and empty it; say whether readers allowed that."""
        self.all("PRAGMA busy_timeout = 0")  # never wait for readers: the log can wait
        found = self.one("PRAGMA wal_checkpoint(TRUNCATE)")
        self.all(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        return found is not None and found[0] == 0


def doubted(
    read: Callable[Concatenate[Database, Given], Found],
) -> Callable[Concatenate[Database, Given], Found]:
    """Let a function that reads a database do so `doubting` it."""

    @functools.wraps(read)
    def reading(database: Database, *args: Given.args, **kwargs: Given.kwargs) -> Found:
        with database.doubting():
            return read(database, *args, **kwargs)

    return reading  # type: ignore[return-value]  # mypy takes wraps at its word on names


def _require_plain(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database with more than plain tables and their indexes: a view may never end.

    Raises:
        RegisterError: It has a view, a trigger, a virtual table or a computed column.
    """
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind not in ("table", "index") or _ODD.search(str(sql or "")):
            raise RegisterError(
                f"{path}: damaged: {kind} {str(name)[:40]!r} is none of ours", hint=AGAIN
            )


def _size(path: Path) -> int:
    """Return a file's size in bytes; 0 if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = mend_hint(path.parent)
        if "locked" in str(error):
            hint = "wait until the other process has finished"
        if "readonly" in str(error) or "unable to open" in str(error):
            hint = "copy the register to a folder that you may write to, and open it there once"
        if "full" in str(error) or "disk I/O" in str(error):
            hint = "make room on the disk, then try again: what is committed is kept"
        raise RegisterError(f"{path}: {error}", hint=hint) from error
    except (sqlite3.Error, UnicodeError, MemoryError) as error:
        raise RegisterError(f"{path}: damaged: {error}", hint=mend_hint(path.parent)) from error
