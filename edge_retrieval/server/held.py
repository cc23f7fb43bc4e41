"""A register that follows its folder, held open by one thread."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import RegisterError
from edge_retrieval.register import Register
from edge_retrieval.server.remembering import Memory, RememberingEncoder
from edge_retrieval.session import Session
from edge_retrieval.store import FoundInStore, SharedStore

EVERY = 1.0
"""Seconds between two looks at the folder."""

WATCHED = ("register.json", "head.json", "designs.sqlite", "designs.sqlite-wal")
"""Files of which one changes with every commit."""

MADE = 64
"""Results of `HeldRegister.once` that are kept."""

Made = TypeVar("Made")
Look = tuple[tuple[int, int, int], ...]


class HeldRegister:
    """A register and what was committed to it since, without a refresh for every question.

    A refresh lets go of checksums that were compared and of records that were read, so it comes
    only when a file has changed; a folder that became another register is opened anew.

    Args:
        folder: The register.
        memory: Of its encoder; None: the encoder is not needed.
        store: Finds candidates for its searches; None: the register itself does.
        clock: Gives seconds.
    """

    def __init__(
        self,
        folder: Path,
        memory: Memory | None = None,
        *,
        store: SharedStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._memory = memory
        self._store = store
        self._found: FoundInStore | None = None
        self._clock = clock
        self._looked = clock()
        self._seen = _look(folder)
        self._made: dict[Hashable, Any] = {}
        self._made_at = ""
        self._register, self._encoder = self._open()
        self.mark = mark_of(folder)

    def _open(self) -> tuple[Register, Encoder | None]:
        if self._memory is None:
            return Register.open(self._folder), None
        session = Session(self._folder, threads=1)
        return session.register, RememberingEncoder(session.encoder, self._memory)

    @property
    def register(self) -> Register:
        """The register as it was at the last look."""
        return self._register

    @property
    def encoder(self) -> Encoder:
        """That of the register; only where it was asked for."""
        if self._encoder is None:
            raise ValueError("this register is held without its encoder")
        return self._encoder

    @property
    def epoch(self) -> str:
        """Names which rows count, of which register: "0-1f2e3d4c"."""
        return f"{self._register.epoch}-{self.mark}"

    def renew(self, *, at_once: bool = False) -> None:
        """See what has changed on disk; at most once in `EVERY` seconds.

        Args:
            at_once: However short ago the last look was.

        Raises:
            RegisterError: The register is damaged, or gone.
        """
        now = self._clock()
        if not at_once and now - self._looked < EVERY:
            return
        found = _look(self._folder)  # before it is read: what comes later is seen next time
        if found != self._seen:
            mark = mark_of(self._folder)
            if mark == self.mark:
                self._register.refresh()
            else:
                opened = self._open()
                self._register.close()
                (self._register, self._encoder), self.mark = opened, mark
            self._seen = found
        self._looked = now

    @contextlib.contextmanager
    def finding(self) -> Iterator[FoundInStore | None]:
        """Give what finds the candidates of a search, as `search` takes it; None: the register.

        Raises:
            MissingExtraError: pymilvus or milvus-lite is not installed.
            StoreError: The store cannot be reached, or does not hold what the register does.
            BundleMismatchError: It holds the vectors of another encoder.
        """
        if self._store is None:
            yield None
            return
        with self._store.entered() as collection:
            if self._found is None or self._found.collection is not collection:
                self._found = FoundInStore(collection, self._register)
            yield self._found

    @property
    def found_in(self) -> dict[str, Any] | None:
        """What a record tells of the store that was asked last; None: none is."""
        return self._found.facts if self._found is not None else None

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made for a key while the register stood as it does, or make it."""
        if self._made_at != self._register.snapshot or len(self._made) >= MADE:
            self._made.clear()
            self._made_at = self._register.snapshot
        if key not in self._made:
            self._made[key] = make()
        found: Made = self._made[key]
        return found

    def close(self) -> None:
        """Let go of the register."""
        self._register.close()


def mark_of(folder: Path) -> str:
    """Return eight characters that tell this register from any other that is or was served.

    Browsers keep pictures for ever; two registers may be served at one address, one day after the
    other.

    Raises:
        RegisterError: There is no register.
    """
    file = folder / "register.json"
    try:
        told, at = file.read_bytes(), file.stat()
    except OSError as error:
        raise RegisterError(
            f"{folder}: no register any more: {error.strerror}", hint="start edge-ret serve again"
        ) from error
    made = f"{folder.resolve()} {at.st_ino} {at.st_mtime_ns}".encode(errors="replace")
    return hashlib.sha256(made + told).hexdigest()[:8]


def _look(folder: Path) -> Look:
    """Return what changes with every commit; a log that a reader makes is empty, and no change."""
    seen = []
    for name in WATCHED:
        try:
            at = (folder / name).stat()
        except OSError:
            seen.append((0, 0, 0))
        else:
            seen.append((at.st_ino, at.st_size, at.st_mtime_ns) if at.st_size else (0, 0, 0))
    return tuple(seen)
