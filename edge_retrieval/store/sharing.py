"""One connection to a store for all threads of a process, opened again after it has failed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edge_retrieval.errors import BundleMismatchError, StoreError
from edge_retrieval.store.address import Address
from edge_retrieval.store.collection import Collection
from edge_retrieval.store.holding import require_stamp

PAUSE = 1.0
"""Seconds after a connection could not be made in which no other is tried."""


class _Open:
    """A connection, and how many are at work with it."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.users = 0
        self.failed = False


class SharedStore:
    """A collection of a store, for threads that search in it at the same time.

    It is let go of as soon as something has failed with it, and opened by whoever asks next. So a
    server that was away is found again; and a file of milvus-lite whose register has changed can
    be pushed to, though who serves it goes on.

    Args:
        address: Where it is.
        clock: Gives seconds.

    Attributes:
        address: Where it is.
        server: The server that answered last; "": none did.
    """

    def __init__(self, address: Address, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self.server = ""
        self._clock = clock
        self._lock = threading.Lock()
        self._open: _Open | None = None
        self._refused: tuple[float, StoreError] | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[Collection]:
        """Give the collection to a thread, for as long as it is at work with it.

        Raises:
            MissingExtraError: pymilvus or milvus-lite is not installed.
            StoreError: It cannot be reached.
        """
        with self._lock:
            mine = self._open = self._open or _Open(self._connected())
            mine.users += 1
        try:
            yield mine.collection
        except (StoreError, BundleMismatchError):
            with self._lock:
                self._forget(mine)
            raise
        finally:
            with self._lock:
                mine.users -= 1
                self._close_unused(mine)

    def stamp(self) -> dict[str, Any] | None:
        """Return what the collection was filled from; None: there is no such collection.

        Raises:
            MissingExtraError: See `entered`.
            StoreError: It cannot be reached, or another program made it.
        """
        with self.entered() as collection:
            return require_stamp(collection) if collection.exists() else None

    def close(self) -> None:
        """Let go of the connection, once nobody is at work with it."""
        with self._lock:
            if self._open is not None:
                mine = self._open
                self._forget(mine)
                self._close_unused(mine)

    def _connected(self) -> Collection:
        """Open the collection; who waited while that failed hears the same."""
        if self._refused is not None and self._clock() - self._refused[0] < PAUSE:
            refused = self._refused[1]
            raise StoreError(str(refused), hint=refused.hint) from refused.__cause__
        try:
            made = Collection(self.address)
        except StoreError as error:
            self._refused = self._clock(), error
            raise
        self.server, self._refused = made.server, None
        return made

    def _forget(self, mine: _Open) -> None:
        """Give this connection to nobody any more."""
        mine.failed = True
        if self._open is mine:
            self._open = None

    def _close_unused(self, mine: _Open) -> None:
        if mine.failed and not mine.users:
            mine.collection.close()
