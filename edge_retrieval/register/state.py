"""Where a register stands: how often it was changed, which files count, what its content is called.

`head.json` remembers this outside the database. A log of SQLite with a flipped byte is read up to
that byte, in silence: what was committed after is gone. A database that stands before its head has
lost something. At rest, with an empty log, the head also holds a checksum of the database's file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import NamedTuple

from edge_retrieval.errors import LIES, RegisterError

HEAD = "head.json"
AGAIN = "copy the register again, or index the designs anew"
"""What to do where nothing can be mended."""


def mend_hint(folder: Path) -> str:
    """Return what to do about damage in a register that can be mended, as far as one can tell."""
    return f"run: edge-ret register verify --repair {folder}; or copy the register again"


def digest_of(*values: object) -> bytes:
    """Return eight bytes that change when a value does: BLAKE2b of each as JSON, its length first.

    Every record passes here whenever it is read, so what is an int or a str takes the short way.
    """
    parts: list[bytes] = []
    for value in values:
        if type(value) is int:
            data = b"%d" % value
        elif type(value) is str:
            data = encode_basestring_ascii(value).encode()
        else:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
        parts += (len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest()


class State(NamedTuple):
    """Where a register stands.

    Attributes:
        generation: How many commits changed what can be found.
        epoch: Which vectors and pictures count: those of `vectors-EPOCH.f32`.
        snapshot: Hex SHA-256 of the snapshot before and of what the last commit did.
    """

    generation: int
    epoch: int
    snapshot: str

    @property
    def digest(self) -> bytes:
        """Eight bytes that change when the state does."""
        return digest_of(*self)


class Head(NamedTuple):
    """What `head.json` says: the last commit, and the database's file at rest (0, 0: not told)."""

    generation: int
    snapshot: str
    database_bytes: int = 0
    database_crc: int = 0

    def text(self) -> str:
        """Return the file's only right content."""
        told = self._asdict()
        return json.dumps(told | {"check": digest_of(*self).hex()}, indent=1) + "\n"


def write_head(folder: Path, head: Head) -> None:
    """Write the head, whole or not at all; a register can do without."""
    part = folder / f"{HEAD}.part"
    try:
        part.write_text(head.text(), encoding="utf-8")
        part.replace(folder / HEAD)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise


def read_head(folder: Path) -> Head | None:
    """Return the head; None if there is none.

    Raises:
        ValueError: It is damaged.
    """
    try:
        text = (folder / HEAD).read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        told = json.loads(text)
        told.pop("check", None)
        head = Head(**told)
    except LIES as error:
        raise ValueError(f"no head: {error}") from error
    if [type(one) for one in head] != [int, str, int, int]:
        raise ValueError("no head")
    if head.text() != text:
        raise ValueError("changed since it was written")
    return head


def read_head_or_none(folder: Path) -> Head | None:
    """Return the head; None if there is none, or it is damaged: the database is the truth."""
    with contextlib.suppress(ValueError):
        return read_head(folder)
    return None


def require_head(path: Path, state: State, head: Head) -> None:
    """Refuse a database that stands before its head: something that was committed is gone.

    Raises:
        RegisterError: It does.
    """
    behind = state.generation < head.generation
    if behind or (state.generation == head.generation and state.snapshot != head.snapshot):
        raise RegisterError(
            f"{path}: damaged: it stands at generation {state.generation}, "
            f"but {head.generation} was committed",
            hint=mend_hint(path.parent),
        )
