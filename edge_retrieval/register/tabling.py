"""Making the columns of a register from its database."""

from __future__ import annotations

import json
import zlib

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import Columns, sheet_mark
from edge_retrieval.register.database import Database
from edge_retrieval.register.reading import design_digest, read_label_tree
from edge_retrieval.register.state import DAMAGED


def make_columns(database: Database) -> Columns:
    """Return the columns of what the database holds now.

    Raises:
        RegisterError: A record that they rest on is damaged.
    """
    paths = read_label_tree(database)
    if sorted(paths) != list(range(len(paths))):
        raise _damaged(database, "the classes")
    places: dict[str, dict[str, int]] = {"sources": {}, "applicants": {}}
    node, source, alive, numbers = [], [], [], []
    published, filed, applicant_of, starts = [], [], [], [0]
    sql = "SELECT id, number, node, source, dead, facts, digest FROM designs ORDER BY id"
    for at, (key, number, place, name, dead, text, digest) in enumerate(database.each(sql)):
        labels = paths.get(place)
        sealed = labels is not None and digest == design_digest(number, labels, name, dead, text)
        if key != at + 1 or not sealed:
            raise _damaged(database, f"design {number}")
        facts = json.loads(text)
        node.append(place)
        alive.append(not dead)
        numbers.append(number.encode())
        source.append(_place(places["sources"], name))
        published.append(_date(facts["published"]))
        filed.append(_date(facts["filed"]))
        applicant_of += [_place(places["applicants"], who) for who in facts["applicants"]]
        starts.append(len(applicant_of))
    design_of, sheet_of, crc_of = _rows(database)
    if len(design_of) and not 0 <= design_of.min() <= design_of.max() < len(node):
        raise _damaged(database, "a figure's design")
    batches = _batches(database, design_of, sheet_of, crc_of)
    return Columns(
        design_of=design_of,
        sheet_of=sheet_of,
        crc_of=crc_of,
        batch_first=batches[:, 0],
        batch_crc=batches[:, 1].astype(np.uint32),
        alive=np.array(alive, np.bool_),
        node=np.array(node, np.int32),
        published=np.array(published, np.int32),
        filed=np.array(filed, np.int32),
        source=np.array(source, np.int32),
        sources=tuple(places["sources"]),
        applicants=tuple(places["applicants"]),
        applicant_of=np.array(applicant_of, np.int32),
        applicant_starts=np.array(starts, np.int64),
        paths=tuple(paths[i] for i in range(len(paths))),
        number_text=np.frombuffer(b"".join(numbers), np.uint8),
        number_starts=np.cumsum([0, *map(len, numbers)], dtype=np.int64),
        by_number=np.array(sorted(range(len(numbers)), key=numbers.__getitem__), np.int32),
    )


def seal_of(
    design_of: NDArray[np.int32], sheet_of: NDArray[np.uint64], crc_of: NDArray[np.uint32]
) -> int:
    """Return the checksum of what the columns say of a batch's rows."""
    crc = zlib.crc32(np.asarray(design_of, "<i4").tobytes())
    crc = zlib.crc32(np.asarray(sheet_of, "<u8").tobytes(), crc)
    return zlib.crc32(np.asarray(crc_of, "<u4").tobytes(), crc)


def _rows(
    database: Database,
) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint32]]:
    """Return design, sheet and CRC-32 of every row."""
    marks: dict[int, int] = {}
    try:
        for sheet, sha256 in database.each("SELECT id, sha256 FROM sheets"):
            marks[sheet] = sheet_mark(sha256)
        sql = "SELECT row, design, sheet, crc FROM figures ORDER BY row"
        found = [
            (row, design - 1, marks[sheet], crc) for row, design, sheet, crc in database.each(sql)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(database, "sheets and figures") from error
    if any(at != record[0] for at, record in enumerate(found)):
        raise _damaged(database, "figures are missing")
    _, designs, sheets, crcs = zip(*found, strict=True) if found else ((), (), (), ())
    return np.array(designs, np.int32), np.array(sheets, np.uint64), np.array(crcs, np.uint32)


def _batches(
    database: Database,
    design_of: NDArray[np.int32],
    sheet_of: NDArray[np.uint64],
    crc_of: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Return (B, 2), first row and CRC-32 of each batch, once its rows are what it sealed."""
    found, end = [], 0
    for first, rows, crc, seal in database.each(
        "SELECT first, rows, crc, seal FROM batches ORDER BY first"
    ):
        part = slice(first, first + rows)
        if first != end or seal != seal_of(design_of[part], sheet_of[part], crc_of[part]):
            raise _damaged(database, f"the batch of row {first}")
        found.append((first, crc))
        end += rows
    if end != len(design_of):
        raise _damaged(database, f"{len(design_of)} figures, but {end} in batches")
    return np.array(found, np.int64).reshape(-1, 2)


def _date(text: str | None) -> int:
    """Return an ISO date as yyyymmdd; 0 if it is none."""
    digits = (text or "").replace("-", "")[:8]
    return int(digits) if len(digits) == 8 and digits.isdecimal() else 0


def _place(places: dict[str, int], name: str) -> int:
    """Return the place of a name, a new one if it is new. A name holds no NUL."""
    return places.setdefault(name.replace("\0", " "), len(places))


def _damaged(database: Database, what: str) -> RegisterError:
    return RegisterError(f"{database.path}: damaged: {what}", hint=DAMAGED)
