"""Reading the bytes of a database file beside the connections to it.

The locks of SQLite are the system's, and the system lifts all that a process holds on a file when
the process closes any handle of it. So a database's file that has connections here is read
through one handle, which stays open until the last of them is closed; else another process would
take the log to be nobody's, and remove it.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

File = tuple[int, int]  # what tells files apart, whatever their names: device and number there

_lock = threading.Lock()
_connections: dict[File, int] = {}
_handles: dict[File, int] = {}


def enter(path: Path) -> File:
    """Count one more connection to a file; return what `leave` wants."""
    told = path.stat()
    file = told.st_dev, told.st_ino
    with _lock:
        _connections[file] = _connections.get(file, 0) + 1
    return file


def leave(file: File) -> None:
    """Count one connection less, after it was closed; with the last of them goes the handle."""
    with _lock:
        _connections[file] -= 1
        if not _connections[file]:
            del _connections[file]
            if (handle := _handles.pop(file, None)) is not None:
                os.close(handle)


def pieces_of(path: Path, *, at_once: int = 1 << 20) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces, without harm to the connections to it."""
    file = enter(path)
    try:
        with _lock:
            if file not in _handles:
                _handles[file] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            handle = _handles[file]
        offset = 0
        while True:
            with _lock:
                os.lseek(handle, offset, os.SEEK_SET)
                piece = os.read(handle, at_once)
            if not piece:
                return
            offset += len(piece)
            yield piece
    finally:
        leave(file)


def size_and_crc(path: Path) -> tuple[int, int]:
    """Return the length of a file and the CRC-32 of its bytes."""
    size = crc = 0
    for piece in pieces_of(path):
        size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc
