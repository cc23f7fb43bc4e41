"""The vectors of a register: one append-only file, and the lock of its only writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError

DTYPE = np.dtype("<f4")


def append_vectors(path: Path, first: int, vectors: Embeddings) -> str:
    """Write `(N, D)` rows from row `first` on, down to the disk; return their SHA-256.

    What stands beyond `first` was never committed, and is cut off before.
    """
    data = np.ascontiguousarray(vectors, dtype=DTYPE).tobytes()
    with writing(path), path.open("r+b") as file:
        file.truncate(first * vectors.shape[1] * DTYPE.itemsize)
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # before the transaction that names these rows commits
    return hashlib.sha256(data).hexdigest()


def cut_tail(path: Path, rows: int, dim: int) -> None:
    """Cut off what a killed writer left beyond the committed rows."""
    size = rows * dim * DTYPE.itemsize
    with writing(path), path.open("r+b") as file:
        if path.stat().st_size > size:
            file.truncate(size)


def map_vectors(path: Path, rows: int, dim: int) -> Embeddings:
    """Map the committed rows into memory, read-only.

    Returns:
        ``(rows, dim)`` float32.

    Raises:
        RegisterError: The file is missing, or shorter than what was committed.
    """
    expected = rows * dim * DTYPE.itemsize
    try:
        size = path.stat().st_size
        if size >= expected:
            if rows == 0:
                return np.empty((0, dim), DTYPE)  # nothing cannot be mapped
            return np.memmap(path, DTYPE, mode="r", shape=(rows, dim))
    except OSError as error:
        raise RegisterError(
            f"{path}: cannot be read: {error.strerror}",
            hint="copy the register again, or index the designs anew",
        ) from error
    raise RegisterError(
        f"{path}: {expected - size} bytes short",
        hint="copy the register again, or index the designs anew",
    )


def sha256_of_rows(vectors: Embeddings) -> str:
    """Return the hex SHA-256 of rows as they stand in the file."""
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype=DTYPE).data).hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in our words why `path` cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RegisterError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="make room on the disk, then add the same designs again: what is committed is kept"
            if full
            else "choose a folder that you may write to",
        ) from error


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Be the only writer; the system lifts the lock when the process ends, however it ends."""
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(handle)
        except OSError as error:
            raise RegisterError(
                f"{path.parent}: another process is adding to this register",
                hint="wait until it has finished, then try again; searching works meanwhile",
            ) from error
        yield
    finally:
        os.close(handle)  # lifts the lock


if os.name == "nt":

    def _lock(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]

else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
