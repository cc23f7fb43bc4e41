"""Members of ZIPs and tars, read in place: nothing is unpacked to disk.

A tar that is not compressed, and a ZIP inside it, are windows on the file; a ZIP inside a ZIP is
held in memory while it is used.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from edge_retrieval.errors import LIES, DrawingError
from edge_retrieval.limits import current
from edge_retrieval.sources.compressed import TAR_SUFFIXES, Opener, unpacked
from edge_retrieval.sources.design import Problem

READ_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: a compression that Python cannot undo
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    *LIES,  # a member without a name, a memory that nobody has
)
"""What a damaged or a crafted archive makes Python raise."""

MEMBER_BYTES = 128
"""Of a ZIP's directory for each member: a name of 82 letters."""

Step: TypeAlias = tuple[str, str] | tuple[int, int]
"""Into a ZIP: ("zip", member). Out of a compressed tar: ("gz", ""). A part: (offset, size)."""


@dataclass(frozen=True)
class Place:
    """Where bytes lie: a file, and the steps into archives from there."""

    path: Path
    stamp: tuple[int, int]  # a replaced file must not be answered from a cache
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, path: Path) -> Place:
        """Return the place of a file on disk; OSError if there is none."""
        status = path.stat()
        return cls(path, (status.st_mtime_ns, status.st_size))

    def __truediv__(self, step: Step) -> Place:
        return Place(self.path, self.stamp, (*self.steps, step))


def members(place: Place, where: str, name: str) -> Iterator[tuple[str, Place] | Problem]:
    """Yield name and place of each file in an archive; what cannot be one is a problem."""
    try:
        if name.lower().endswith(".zip"):
            yield from _zip_members(place, where)
        else:
            if not name.lower().endswith(".tar"):
                place /= (TAR_SUFFIXES[_tar_suffix(name)], "")
            yield from _tar_members(place, where)
    except READ_ERRORS as error:
        yield Problem(where, f"the archive is damaged or cut short: {_reason(error)}")


def _zip_members(place: Place, where: str) -> Iterator[tuple[str, Place] | Problem]:
    for info in _zip_file(place).infolist():
        if info.is_dir():
            continue
        at = f"{where}!{info.filename}"
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Problem(at, "a link inside an archive: not followed")
        elif info.file_size > current().bytes:
            yield Problem(at, f"{current().too_large()}: not read")
        else:
            yield info.filename, place / ("zip", info.filename)


def _tar_members(place: Place, where: str) -> Iterator[tuple[str, Place] | Problem]:
    with _opened(place) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            at = f"{where}!{member.name}"
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                yield Problem(at, "a link or device inside an archive: not followed")
            else:
                name = member.name.removeprefix("./")
                yield name, place / (member.offset_data, member.size)
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            # tarfile takes this for the end; a download cut between two members looks so too.
            yield Problem(where, "the archive has no end mark: it is cut short")


def read_place(place: Place, where: str) -> bytes:
    """Return the bytes of a member; `where` names it in the `DrawingError` that may be raised."""
    try:
        return _bytes_of(place)
    except READ_ERRORS as error:
        raise DrawingError(
            f"{where}: cannot be read: {_reason(error)}", hint="get the archive again"
        ) from None


def _bytes_of(place: Place) -> bytes:
    last = place.steps[-1]
    container = Place(place.path, place.stamp, place.steps[:-1])
    if last[0] == "zip":
        return _zip_file(container).read(str(last[1]))
    with _opened(place) as file:
        size = int(last[1])
        if size > current().bytes:
            raise OSError(current().too_large())
        data = file.read(size)
    if len(data) != size:
        raise EOFError("is cut short")
    return data


@lru_cache(maxsize=8)
def _zip_file(place: Place) -> zipfile.ZipFile:
    # Kept open: reading the directory of a large ZIP anew for each sheet would be slow.
    file = _opened(place)
    if _directory_bytes(file) > current().members * MEMBER_BYTES:
        raise OSError(f"its members are {current().told('members')}")
    return zipfile.ZipFile(file)


def _directory_bytes(file: BinaryIO) -> int:
    """Return how long a ZIP says that its directory is: Python reads all of it at once."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 98))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return 0  # told by zipfile
    found: int = struct.unpack_from("<I", tail, end + 12)[0]
    large = tail.rfind(b"PK\6\6", 0, end)
    if large >= 0 and len(tail) >= large + 48:
        found = max(
            found if found != 0xFFFFFFFF else 0, *struct.unpack_from("<Q", tail, large + 40)
        )
    return min(found, size)


@lru_cache(maxsize=2)
def _in_memory(place: Place) -> bytes:
    return _bytes_of(place)


def _opened(place: Place) -> BinaryIO:
    """Return a seekable stream over the bytes of a place."""
    if not place.steps:
        return Window(place.path.open("rb"), 0, place.stamp[1]).buffered()
    last = place.steps[-1]
    if last[0] == "zip":
        return io.BytesIO(_in_memory(place))
    container = Place(place.path, place.stamp, place.steps[:-1])
    if isinstance(last[0], int):
        return Window(_opened(container), last[0], int(last[1])).buffered()
    return unpacked(Opener(container, partial(_opened, container)), last[0])


class Window(io.RawIOBase):
    """A part of a seekable file as a file of its own; closing it closes the whole."""

    def __init__(self, whole: BinaryIO, offset: int, size: int) -> None:
        self._whole, self._offset, self._size, self._at = whole, offset, size, 0

    def buffered(self) -> BinaryIO:
        """Return a buffered reader of this part."""
        return io.BufferedReader(self, 1 << 16)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._whole.seek(self._offset + self._at)
        data = self._whole.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._whole.close()
        super().close()


def _tar_suffix(name: str) -> str:
    return next(suffix for suffix in TAR_SUFFIXES if name.lower().endswith(suffix))


def _reason(error: BaseException) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
