"""The files of a register beside its database: append-only; what is not committed is cut off."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.register.state import AGAIN, HEAD, mend_hint

DTYPE = np.dtype("<f4")
BUNDLE, LOCK = "bundle", "writer.lock"
DATABASE = "designs.sqlite"
NEW, READY = f"{DATABASE}.new", f"{DATABASE}.ready"
"""A database that is being built, and one that is whole and only has to take its place."""
OLD_VECTORS = "vectors.f32"
"""The vectors of a register of schema 1."""
CACHES = ("pass.*", "graph.*")
"""What makes a search faster, and is worth nothing once rows have other numbers."""


def vectors_name(epoch: int) -> str:
    """Return the name of the file of vectors of an epoch."""
    return f"vectors-{epoch}.f32"


def pictures_name(epoch: int) -> str:
    """Return the name of the file of pictures of an epoch."""
    return f"pictures-{epoch}.bin"


def width_of(dim: int) -> int:
    """Return the bytes of a vector."""
    return dim * DTYPE.itemsize


def append(path: Path, end: int, data: bytes) -> None:
    """Write `data` from byte `end` on, down to the disk.

    What stands beyond `end` was never committed, and is cut off before.
    """
    with writing(path), path.open("r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # before the transaction that names these bytes commits


def append_vectors(path: Path, first: int, vectors: Embeddings) -> tuple[str, int]:
    """Write `(N, D)` rows from row `first` on; return SHA-256 and CRC-32 of their bytes."""
    data = np.ascontiguousarray(vectors, dtype=DTYPE).tobytes()
    append(path, first * width_of(vectors.shape[1]), data)
    return hashlib.sha256(data).hexdigest(), zlib.crc32(data)


def cut_tail(path: Path, size: int) -> None:
    """Cut off what a killed writer left beyond the committed bytes."""
    with writing(path), path.open("r+b") as file:
        if path.stat().st_size > size:
            file.truncate(size)


class RowReader:
    """Reads rows of a file by their place, without mapping it: memory holds what is asked for.

    Args:
        path: The file of vectors.
        dim: Numbers in a vector.

    Raises:
        RegisterError: It cannot be opened.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self._file = -1
        self._path, self._dim = path, dim
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise RegisterError(
                f"{path}: cannot be read: {error.strerror}",
                hint=AGAIN,
            ) from error

    def read(self, rows: NDArray[np.int64]) -> Embeddings:
        """Return ``(n, D)`` float32; a row that is not there is zeros."""
        width = width_of(self._dim)
        pieces = [self.bytes_at(row * width, width) for row in rows.tolist()]
        data = bytearray().join(piece.ljust(width, b"\0") for piece in pieces)
        return np.frombuffer(data, DTYPE).reshape(len(rows), self._dim)

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; fewer, where it ends before."""
        length = min(length, os.fstat(self._file).st_size - offset)
        if offset < 0 or length <= 0:
            return b""  # of a damaged record
        if hasattr(os, "pread"):
            return os.pread(self._file, length, offset)
        os.lseek(self._file, offset, os.SEEK_SET)
        return os.read(self._file, length)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    __del__ = close


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
            hint=AGAIN,
        ) from error
    raise RegisterError(
        f"{path}: {expected - size} bytes short",
        hint=mend_hint(path.parent),
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in our words why `path` cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RegisterError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="make room on the disk, then try again: what is committed is kept"
            if full
            else "choose a folder that you may write to",
        ) from error


def sync_folder(folder: Path) -> None:
    """Force down to the disk what names the files of a folder have."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_whole(part: Path, path: Path) -> None:
    """Put a file that was written beside its place there, down to the disk: all or nothing."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def replace_database(folder: Path) -> None:
    """Let the database that was built take the place of the old one; by the one writer.

    A log of the old database must not meet the new one, and no kill may part the old one from its
    log. So the new one is named ready first: from then on it counts.
    """
    with writing(folder):
        log = folder / f"{NEW}-wal"
        if log.exists() and log.stat().st_size:  # the last to close it found no room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_whole(folder / NEW, folder / READY)
    finish_replacing(folder)


def finish_replacing(folder: Path) -> None:
    """Put a database that is ready in its place; by the one writer."""
    if not (folder / READY).exists():
        return
    with writing(folder):
        for suffix in ("-wal", "-shm", "-journal"):
            (folder / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        (folder / HEAD).unlink(missing_ok=True)  # of the old one
        replace_whole(folder / READY, folder / DATABASE)


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Be the only writer; the system lifts the lock when the process ends, however it ends.

    Raises:
        RegisterError: Another process, or another part of this one, is the writer; or the disk
            knows no locks.
    """
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(handle)
        except OSError as error:
            if error.errno not in TAKEN:
                raise RegisterError(
                    f"{path}: cannot be locked: {error.strerror or error}",
                    hint="keep a register that is written to on a disk of this machine",
                ) from error
            raise RegisterError(
                f"{path.parent}: another process is writing to this register",
                hint="wait until it has finished, then try again; searching works meanwhile",
            ) from error
        try:
            yield
        finally:
            _unlock(handle)
    finally:
        os.close(handle)


TAKEN = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
"""What a system answers when somebody else holds a lock."""

# Each is loaded where it is needed, and each exists on one kind of system only.


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)  # it locks from where the file stands
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(handle: int) -> None:
    """Lift the lock at once: Windows lifts that of a closed file when it finds the time."""
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(handle, fcntl.LOCK_UN)
