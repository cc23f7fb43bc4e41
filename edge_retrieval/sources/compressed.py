"""Random access into compressed tars, in memory."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import BinaryIO

from edge_retrieval.limits import current, read_within

TAR_SUFFIXES = {
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
}
SPAN = 16 << 20  # bytes of output between two resting points of a gzip stream
PIECE = 256 << 10  # bytes of input read at once


class Opener:
    """A way to open a file anew; equal to another if its key is, so that caches can hold it.

    Args:
        key: Equal for the same bytes on disk.
        opened: Opens them.
    """

    def __init__(self, key: Hashable, opened: Callable[[], BinaryIO]) -> None:
        self.key, self.opened = key, opened

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opener) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def unpacked(opener: Opener, kind: str) -> BinaryIO:
    """Return a seekable stream of what a compressed file holds.

    gzip of any size is read where it lies; xz and bzip2 only as far as memory may hold them, since
    they cannot be entered in the middle.

    Args:
        opener: Opens the compressed file.
        kind: "gz", "xz" or "bz2".

    Raises:
        OSError: It is larger than can be read, or damaged.
    """
    if kind == "gz":
        return io.BufferedReader(GzipView(_inflater(opener)), 1 << 16)
    return io.BytesIO(_whole(opener, kind))


@lru_cache(maxsize=2)
def _whole(opener: Opener, kind: str) -> bytes:
    module = lzma if kind == "xz" else bz2
    with opener.opened() as file:
        try:
            data = read_within(module.open(file))
        except lzma.LZMAError as error:
            raise OSError(str(error)) from None
    if len(data) > current().bytes:
        raise OSError(f"its {kind} unpacks to {current().too_large()}; repack it as .tar or .zip")
    return data


@lru_cache(maxsize=4)
def _inflater(opener: Opener) -> Inflater:
    return Inflater(opener.opened())


class Inflater:
    """Any part of a gzip file, from copies of the decompressor kept every `SPAN` bytes.

    A copy is some 40 kB, so 20 GB of drawings cost 50 MB; `gzip.GzipFile` would start from the
    beginning at every step back. Reading on from the last place costs nothing extra.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        # Resting points: (bytes of output before it, bytes of input before it, decompressor)
        self._points = [(0, 0, zlib.decompressobj(31))]
        self._rest(0)

    def read_at(self, at: int, size: int) -> bytes:
        """Return up to `size` bytes of the output from `at`; none at its end.

        Raises:
            EOFError: The file is cut short.
            zlib.error: The file is damaged.
        """
        with self._lock:
            index = bisect_right(self._points, at, key=lambda point: point[0]) - 1
            if at < self._out or self._points[index][0] > self._out + len(self._piece):
                self._rest(index)
            while at >= self._out + len(self._piece):
                if not self._next():
                    return b""
            return self._piece[at - self._out : at - self._out + size]

    def size(self) -> int:
        """Return the bytes of the output; reads all of it."""
        with self._lock:
            while self._next():
                pass
            return self._out

    def _rest(self, index: int) -> None:
        self._out, self._in, state = self._points[index]  # _out: where _piece starts
        self._state = state.copy()
        self._piece = b""
        self._pending = b""
        self._file.seek(self._in)

    def _next(self) -> bool:
        """Make the next piece of output; False at the end."""
        self._out += len(self._piece)
        self._piece = b""
        if not self._pending and self._out - self._points[-1][0] >= SPAN and not self._state.eof:
            self._points.append((self._out, self._in, self._state.copy()))
        while not self._piece:
            if self._state.eof:  # another gzip member may follow, or padding
                rest = self._state.unused_data.lstrip(b"\0") or self._read().lstrip(b"\0")
                if not rest:
                    return False
                self._state, self._pending = zlib.decompressobj(31), rest
            data = self._pending or self._read()
            if not data:
                raise EOFError("the compressed file is cut short")
            self._piece = self._state.decompress(data, 16 * PIECE)
            self._pending = self._state.unconsumed_tail
        return True

    def _read(self) -> bytes:
        data = self._file.read(PIECE)
        self._in += len(data)
        return data


class GzipView(io.RawIOBase):
    """One reader's place in an `Inflater`."""

    def __init__(self, inflater: Inflater) -> None:
        self._inflater, self._at = inflater, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._inflater.size()
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._inflater.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
