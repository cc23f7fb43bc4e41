"""What filters and groups need of a register, as arrays in one file: a cache of the database.

columns.bin      magic (8 bytes), length and CRC-32 of the header (u32 each), header (JSON, padded
                 with blanks to 64 bytes), then the arrays, little-endian, each padded to 64 bytes
                 and with a CRC-32 over itself and its padding
"""

from __future__ import annotations

import bisect
import contextlib
import json
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import LIES, RegisterError
from edge_retrieval.register.state import State
from edge_retrieval.taxonomy import LabelPath

COLUMNS = "columns.bin"
MAGIC = b"columns2"
STEP = 64  # arrays begin at multiples of so many bytes
ARRAYS = {
    "design_of": "<i4",
    "sheet_of": "<u8",
    "crc_of": "<u4",
    "batch_first": "<i8",
    "batch_crc": "<u4",
    "alive": "|b1",
    "node": "<i4",
    "published": "<i4",
    "filed": "<i4",
    "source": "<i4",
    "applicant_of": "<i4",
    "applicant_starts": "<i8",
    "number_text": "|u1",
    "number_starts": "<i8",
    "by_number": "<i4",
}
NAMES = ("sources", "applicants")


@dataclass(frozen=True, eq=False)
class Columns:
    """What filters and grouping need of one snapshot; D designs (dead ones included), N rows.

    Attributes:
        design_of: ``(N,)`` int32, row -> place of its design, 0 to D - 1.
        sheet_of: ``(N,)`` uint64, the first 8 bytes, little-endian, of its sheet's SHA-256.
        crc_of: ``(N,)`` uint32, CRC-32 of the row's vector.
        batch_first: ``(B,)`` int64, the first row of each committed batch, ascending.
        batch_crc: ``(B,)`` uint32, CRC-32 of the batch's vectors.
        alive: ``(D,)`` bool; a removed design stays, dead, until `compact`.
        node: ``(D,)`` int32, place in `paths` of the design's class; 0 unknown.
        published: ``(D,)`` int32, yyyymmdd; 0 unknown.
        filed: ``(D,)`` int32, as `published`.
        source: ``(D,)`` int32, place in `sources`.
        sources: Names of what was indexed.
        applicants: Their names, each once.
        applicant_of: ``(A,)`` int32, places in `applicants`, design after design.
        applicant_starts: ``(D + 1,)`` int64, where those of each design begin.
        paths: Label path of each class, those above first; ``paths[0] == ()``.
        number_text: All designs' numbers, UTF-8, one after the other.
        number_starts: ``(D + 1,)`` int64, where each begins.
        by_number: ``(D,)`` int32, places of the designs in the order of their numbers' bytes.
    """

    design_of: NDArray[np.int32]
    sheet_of: NDArray[np.uint64]
    crc_of: NDArray[np.uint32]
    batch_first: NDArray[np.int64]
    batch_crc: NDArray[np.uint32]
    alive: NDArray[np.bool_]
    node: NDArray[np.int32]
    published: NDArray[np.int32]
    filed: NDArray[np.int32]
    source: NDArray[np.int32]
    sources: tuple[str, ...]
    applicants: tuple[str, ...]
    applicant_of: NDArray[np.int32]
    applicant_starts: NDArray[np.int64]
    paths: tuple[LabelPath, ...]
    number_text: NDArray[np.uint8]
    number_starts: NDArray[np.int64]
    by_number: NDArray[np.int32]

    def number(self, design: int) -> str:
        """Return the number of the design at a place."""
        return self._bytes(design).decode()

    def find(self, number: str) -> int | None:
        """Return the place of the living design of that number; None if there is none."""
        wanted = number.encode(errors="replace")
        order = self.by_number
        at = self._before(wanted)
        while at < len(order) and self._bytes(int(order[at])) == wanted:
            if self.alive[order[at]]:
                return int(order[at])
            at += 1
        return None

    def after(self, number: bytes) -> int:
        """Return the place in `by_number` after all designs of that number."""
        return self._before(number + b"\0")

    def _before(self, number: bytes) -> int:
        order = self.by_number
        key = self._bytes
        return bisect.bisect_left(range(len(order)), number, key=lambda i: key(int(order[i])))

    def _bytes(self, design: int) -> bytes:
        start, end = self.number_starts[design : design + 2]
        return self.number_text[start:end].tobytes()

    @cached_property
    def dead_rows(self) -> NDArray[np.int64]:
        """The rows of dead designs, ascending."""
        if self.alive.all():
            return np.empty(0, np.int64)
        return np.flatnonzero(~self.alive[self.design_of])

    @cached_property
    def designs_count(self) -> int:
        """How many designs live."""
        return int(np.count_nonzero(self.alive))

    @property
    def figures_count(self) -> int:
        """How many figures the living designs have."""
        return len(self.design_of) - len(self.dead_rows)


def sheet_mark(sha256: str) -> int:
    """Return the first 8 bytes, little-endian, of a hex SHA-256."""
    return int.from_bytes(bytes.fromhex(sha256[:16]), "little")


def same_columns(one: Columns, other: Columns) -> bool:
    """Tell whether two say the same; names may stand in another order."""
    named = ("source", "applicant_of", "sources", "applicants")
    plain = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ARRAYS
        if name not in named
    )
    return plain and one.paths == other.paths and _named(one) == _named(other)


def _named(columns: Columns) -> list[str]:
    sources = [columns.sources[place] for place in columns.source.tolist()]
    return sources + [columns.applicants[place] for place in columns.applicant_of.tolist()]


def save_columns(folder: Path, columns: Columns, state: State) -> None:
    """Keep the columns; where the folder cannot be written, they are made anew next time."""
    arrays = {name: np.asarray(getattr(columns, name), kind) for name, kind in ARRAYS.items()}
    for name in NAMES:
        arrays[name] = np.frombuffer("\0".join(getattr(columns, name)).encode(), np.uint8)
    sections, offset, blocks = [], 0, []
    for name, array in arrays.items():
        data = array.tobytes()
        data += bytes(-len(data) % STEP)
        sections.append([name, len(array), offset, len(data), zlib.crc32(data)])
        blocks.append(data)
        offset += len(data)
    header = json.dumps(
        {
            "state": state,
            "bytes": offset,
            "sections": sections,
            "counts": {name: len(getattr(columns, name)) for name in NAMES},
            "paths": columns.paths,
        }
    ).encode()
    header += b" " * (-(len(header) + 16) % STEP)
    start = MAGIC + np.array([len(header), zlib.crc32(header)], "<u4").tobytes()
    part = folder / f"{COLUMNS}.{os.getpid()}.part"
    try:
        part.write_bytes(b"".join([start, header, *blocks]))
        part.replace(folder / COLUMNS)
    except BaseException as error:
        for path in (part, folder / COLUMNS):  # of an earlier state: of no use
            with contextlib.suppress(OSError):
                path.unlink()
        if not isinstance(error, OSError):
            raise


def load_columns(folder: Path, state: State | None = None) -> Columns | None:
    """Map the columns that were kept; None if there are none of this state.

    Args:
        folder: The register.
        state: Where the register stands; None: take the columns of any state.

    Raises:
        RegisterError: The file is damaged.
    """
    path = folder / COLUMNS
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if os.name == "nt" or not size:  # Windows replaces no file that is mapped
                data: mmap.mmap | bytes = file.read()
            else:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return None
    with _doubted(path):
        header, told, start = _header(path, data)
        if state is not None and told != state:
            return None
        if start + header["bytes"] != len(data):
            raise _damaged(path, "its length")
        found: dict[str, Any] = {}
        for name, count, offset, length, crc in header["sections"]:
            if offset < 0 or length < 0 or count < 0:
                raise _damaged(path, name)
            if zlib.crc32(memoryview(data)[start + offset : start + offset + length]) != crc:
                raise _damaged(path, name)
            kind = ARRAYS.get(name, "|u1")
            found[name] = np.frombuffer(data, kind, count, start + offset)
        for name in NAMES:
            found[name] = _names(found[name], header["counts"][name])
        columns = Columns(paths=tuple(map(tuple, header["paths"])), **found)
        for name, sound in _checks(columns):
            if not sound:
                raise _damaged(path, name)
        return columns


def _checks(columns: Columns) -> Iterator[tuple[str, bool]]:
    """Yield of each array whether its length and what it holds fit the others."""
    rows, designs = len(columns.design_of), len(columns.alive)
    starts = {
        "batch_first": (len(columns.batch_crc), rows),
        "applicant_starts": (designs + 1, len(columns.applicant_of)),
        "number_starts": (designs + 1, len(columns.number_text)),
    }
    for name, (count, end) in starts.items():
        found = getattr(columns, name)
        yield name, len(found) == count and _begins(found, end, whole=name != "batch_first")
    places = {
        "design_of": (rows, designs),
        "sheet_of": (rows, None),
        "crc_of": (rows, None),
        "node": (designs, len(columns.paths)),
        "published": (designs, None),
        "filed": (designs, None),
        "source": (designs, len(columns.sources)),
        "applicant_of": (len(columns.applicant_of), len(columns.applicants)),
        "by_number": (designs, designs),
    }
    for name, (count, limit) in places.items():
        found = getattr(columns, name)
        inside = limit is None or not count or 0 <= found.min() <= found.max() < limit
        yield name, len(found) == count and bool(inside)
    yield "alive", not designs or int(columns.alive.view(np.uint8).max()) <= 1
    labels = [label for path in columns.paths for label in path]
    yield "paths", columns.paths[0] == () and all(isinstance(label, str) for label in labels)
    text, first = columns.number_text, columns.number_starts[:-1]
    cut = text[first[first < len(text)]] & 0xC0 == 0x80  # within a character
    yield "number_text", bool(text.tobytes().decode() is not None and not cut.any())


def _begins(found: NDArray[np.int64], end: int, *, whole: bool) -> bool:
    """Tell whether these are places, ascending from 0, where parts of `end` things begin."""
    if not len(found):
        return end == 0
    ascends = found[0] == 0 and bool((np.diff(found) >= 0).all())
    return ascends and bool(found[-1] == end if whole else found[-1] < end)


def state_of_columns(folder: Path) -> State | None:
    """Return the state that the columns are of, None if there are none.

    Raises:
        RegisterError: The file is damaged.
    """
    path = folder / COLUMNS
    try:
        with _doubted(path):
            return _header(path, path.read_bytes())[1]
    except OSError:
        return None


def _names(text: NDArray[np.uint8], count: int) -> tuple[str, ...]:
    names = tuple(text.tobytes().decode().split("\0")) if count else ()
    if len(names) != count:
        raise ValueError("the count of names")
    return names


@contextlib.contextmanager
def _doubted(path: Path) -> Iterator[None]:
    """Take a header of another form than was written for the damage that it is."""
    try:
        yield
    except LIES as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _header(path: Path, data: mmap.mmap | bytes) -> tuple[Mapping[str, Any], State, int]:
    """Return the header, the state in it, and where the arrays begin."""
    if data[:8] != MAGIC or len(data) < 16:
        raise _damaged(path, "its beginning")
    length, crc = np.frombuffer(data, "<u4", 2, 8).tolist()
    text = data[16 : 16 + length]
    if zlib.crc32(text) != crc:
        raise _damaged(path, "its header")
    header: dict[str, Any] = json.loads(text)
    state = State(*header["state"])
    if [type(one) for one in state] != [int, int, str] or not 0 <= state.generation < 1 << 53:
        raise _damaged(path, "its state")
    return header, state, 16 + length


def _damaged(path: Path, what: str) -> RegisterError:
    return RegisterError(
        f"{path}: damaged: {what}", hint="delete it: it is made again from the database"
    )
