"""A first pass on disk: a cache, checked block by block before it is believed.

    0   8 bytes  b"edgepass"
    8   u32      schema, 1
    12  u32      bytes of the head, from byte 20 on
    16  u32      CRC-32 of the head
    20  head     u32 length and as much JSON: rows, dim, width (bytes of a row), vectors (what it is
                 of), error, rest, compared; then little-endian: directions (dim, width - 1) f8,
                 lowest and step (width - 1,) f8, and of each block of 16,384 rows its CRC-32, u32
    ..           zeros up to the next multiple of 4,096
    ..           rows x width bytes

It is written beside its place, forced to the disk and renamed. Whatever is wrong with it, search
does without it and the next writer makes it anew.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import LIES, RegisterError
from edge_retrieval.index import UNFINISHED
from edge_retrieval.index.coding import Coding

MAGIC, SCHEMA = b"edgepass", 1
PRELUDE = struct.Struct("<8sIII")
PAGE = 4096
BLOCK = 16_384
LARGEST_HEAD = 1 << 26
HINT = "delete it: search does without it, and the next writer makes it anew"


class FirstPass:
    """The bytes of the first `rows` vectors, mapped, and how to read them.

    Args:
        path: Where it is, for messages.
        coding: What the bytes say.
        vectors: What they were made of; whoever opens a pass compares it.
        compared: Rows that a search had to score, on average, measured when it was made.
        bytes_of: ``(rows, width)`` uint8, mapped: not to be read before `check`.
        crcs: Of each block; none: nothing is checked.
    """

    def __init__(
        self,
        path: Path,
        coding: Coding,
        vectors: str,
        compared: float,
        bytes_of: NDArray[np.uint8],
        crcs: NDArray[np.uint32],
    ) -> None:
        self.path = path
        self.coding = coding
        self.vectors = vectors
        self.compared = compared
        self.bytes_of = bytes_of
        self.crcs = crcs
        self._trusted = np.zeros(len(crcs), bool)

    def __len__(self) -> int:
        return len(self.bytes_of)

    def check(self, rows: NDArray[np.int64] | None = None) -> None:
        """Hold the blocks of some rows, or all, against their checksums, once a session.

        Raises:
            RegisterError: A byte has changed.
        """
        if self._trusted.all():
            return
        blocks = range(len(self.crcs)) if rows is None else np.unique(rows // BLOCK).tolist()
        for block in blocks:
            if not self._trusted[block]:
                piece = self.bytes_of[block * BLOCK : (block + 1) * BLOCK]
                if zlib.crc32(piece.data) != self.crcs[block]:
                    raise _bad(self.path, f"block {block} has changed since it was written")
                self._trusted[block] = True


def write_pass(
    path: Path, coding: Coding, coded: NDArray[np.uint8], *, vectors: str, compared: float
) -> None:
    """Write a first pass, all or nothing.

    Raises:
        RegisterError: The disk is full or the folder cannot be written.
    """
    facts = {
        "rows": len(coded),
        "dim": coding.directions.shape[0],
        "width": coding.width,
        "vectors": vectors,
        "error": coding.error,
        "rest": coding.rest,
        "compared": compared,
    }
    crcs = [zlib.crc32(coded[start : start + BLOCK].data) for start in range(0, len(coded), BLOCK)]
    text = json.dumps(facts).encode()
    numbers = (coding.directions, coding.lowest, coding.step)
    head = struct.pack("<I", len(text)) + text
    head += b"".join(np.ascontiguousarray(part, "<f8").tobytes() for part in numbers)
    head += np.array(crcs, "<u4").tobytes()
    prelude = PRELUDE.pack(MAGIC, SCHEMA, len(head), zlib.crc32(head))
    part = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        with part.open("wb") as file:
            file.write(prelude + head)
            file.write(bytes(-file.tell() % PAGE))
            file.write(coded.data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        hint = "check that the folder is writable and the disk has room"
        raise RegisterError(f"{path}: cannot write the first pass: {error}", hint=hint) from error


def open_pass(path: Path) -> FirstPass:
    """Map a first pass; its blocks are checked when they are first needed.

    Raises:
        RegisterError: It is missing, damaged, or of another schema.
    """
    try:
        with path.open("rb") as file:
            prelude = file.read(PRELUDE.size)
            magic, schema, size, crc = PRELUDE.unpack(prelude)
            if (magic, schema) != (MAGIC, SCHEMA) or size > LARGEST_HEAD:
                raise _bad(path, f"not a first pass of schema {SCHEMA}")
            head = file.read(size)
            if len(head) != size or zlib.crc32(head) != crc:
                raise _bad(path, "its head has changed since it was written")
            (length,) = struct.unpack_from("<I", head)
            facts = json.loads(head[4 : 4 + length])
            rows, dim, width = facts["rows"], facts["dim"], facts["width"]
            if not _are_sound(facts):
                raise _bad(path, "its facts are none")
            start = -(-(PRELUDE.size + size) // PAGE) * PAGE
            file.seek(PRELUDE.size + size)
            if any(file.read(start - file.tell())):
                raise _bad(path, "its padding has changed since it was written")
            if os.fstat(file.fileno()).st_size != start + rows * width or rows < 1:
                raise _bad(path, "its length is not what it says")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        at = 4 + length
        directions = np.frombuffer(head, "<f8", dim * (width - 1), at).reshape(dim, width - 1)
        lowest = np.frombuffer(head, "<f8", width - 1, at + directions.nbytes)
        step = np.frombuffer(head, "<f8", width - 1, at + directions.nbytes + lowest.nbytes)
        if not all(np.isfinite(part).all() for part in (directions, lowest, step)):
            raise _bad(path, "its numbers are not finite")
        coding = Coding(directions, lowest, step, facts["rest"], facts["error"])
        crcs = np.frombuffer(
            head, "<u4", -(-rows // BLOCK), at + directions.nbytes + 2 * step.nbytes
        )
        coded = np.frombuffer(mapped, np.uint8, rows * width, start).reshape(rows, width)
        return FirstPass(path, coding, facts["vectors"], facts["compared"], coded, crcs)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    except (*LIES, struct.error) as error:
        raise _bad(path, f"cannot be read: {error}") from error


def _are_sound(facts: dict[str, Any]) -> bool:
    """Tell whether the facts are of the kinds that are written: with others no bound holds."""
    counts = [facts[name] for name in ("rows", "dim", "width")]
    lengths = [facts[name] for name in ("error", "rest", "compared")]
    return (
        all(type(count) is int and count > 0 for count in counts)
        and all(type(one) in (int, float) and 0 <= one < math.inf for one in lengths)
        and isinstance(facts["vectors"], str)
    )


def _bad(path: Path, why: str) -> RegisterError:
    return RegisterError(f"{path}: {why}", hint=HINT)
