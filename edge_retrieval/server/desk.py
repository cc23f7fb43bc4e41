"""What all requests share: the workers, the drawings, the limits."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge_retrieval.cache import register_name
from edge_retrieval.errors import EdgeRetrievalError, StoreError
from edge_retrieval.server.answers import ClientGone, Refused, busy, refusal_of
from edge_retrieval.server.bodies import Budget, Receive
from edge_retrieval.server.drawings import Drawings
from edge_retrieval.server.held import HeldRegister
from edge_retrieval.server.pool import Full, Pool
from edge_retrieval.server.remembering import Memory
from edge_retrieval.server.settings import ServeSettings
from edge_retrieval.store import SharedStore, read_address

Done = TypeVar("Done")


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        receive: Of ASGI: gives the body, then tells when the client goes.
        headers: By name in lower case.
        query: What stands behind the question mark.
        path: Parts of the path, by name.
    """

    receive: Receive
    headers: Mapping[str, str]
    query: Mapping[str, str]
    path: Mapping[str, Any]


class Desk:
    """The register with those who work on it.

    Searches and drawings have threads of their own, so that pictures and lists come while a search
    goes on.

    Args:
        folder: The register.
        settings: How it is served.
    """

    def __init__(self, folder: Path, settings: ServeSettings) -> None:
        self.folder = folder = folder.absolute()  # never a few letters of some other word
        self.settings = settings
        self.drawings = Drawings(settings.drawings, settings.drawing_bytes)
        self.bodies = Budget(settings.bodies)
        memory = Memory()
        store = SharedStore(read_address(settings.store)) if settings.store else None
        self.searching = Pool(
            "search",
            lambda: _held(folder, memory, store),
            threads=settings.threads,
            queue=settings.queue,
        )
        self.reading = Pool(
            "read",
            lambda: HeldRegister(folder),
            threads=1,
            queue=settings.readings,
        )
        self.store, self.looking = store, None
        if store is not None:
            # One that is away keeps whoever asks it waiting: that must not be those who read.
            self.looking = Pool("look", lambda: store, threads=1, queue=settings.readings)
        self._said = ""
        self._started = False

    def start(self) -> None:
        """Let the workers open the register; nothing if they have.

        Raises:
            RegisterError: It is none, or broken.
            BundleError: Its bundle is broken, or cannot be run here.
            MissingExtraError: There is a store, and what reaches it is not installed.
            StoreError: The store cannot be reached, or does not hold what the register does.
        """
        if self._started:
            return
        self.searching.start()
        self.reading.start()
        if self.looking is not None:
            self.looking.start()
        self._started = True

    def stop(self) -> None:
        """Let the workers go."""
        self._started = False
        self.searching.stop()
        self.reading.stop()
        if self.looking is not None:
            self.looking.stop()

    def require_room(self) -> None:
        """Refuse what could not be searched for now, before its body is received.

        Raises:
            Refused: Too many wait.
        """
        try:
            self.searching.require_room()
        except Full as full:
            raise busy(full.seconds) from None

    async def search(self, asked: Asked, job: Callable[[HeldRegister], Done]) -> Done:
        """Do a job that searches or reads a drawing; see `_done`."""
        return await self._done(self.searching, asked, job)

    async def read(self, asked: Asked, job: Callable[[HeldRegister], Done]) -> Done:
        """Do a short job that needs no encoder; see `_done`."""
        return await self._done(self.reading, asked, job)

    async def stamp(self) -> dict[str, Any] | None:
        """Return what the store's collection was filled from; None: there is no such collection.

        Raises:
            Refused: It cannot be reached, does not answer soon, or another program made it; or too
                many ask.
        """
        store, looking = self.store, self.looking
        if store is None or looking is None:
            raise ValueError("there is no store")
        try:
            future = looking.submit(SharedStore.stamp)
        except Full as full:
            raise busy(full.seconds) from None
        seconds = self.settings.answering
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            slow = StoreError(
                f"{store.address}: the store has not answered within {seconds:g} s",
                hint="see that it runs well, and ask again",
            )
            raise self.refusal(slow) from None
        except EdgeRetrievalError as error:
            raise self.refusal(error) from error
        finally:
            looking.forget(future)

    def let_go_of_store(self) -> None:
        """Give up the connection, for whoever fills the collection now; the next search makes one.

        A file of milvus-lite is one process's at a time.
        """
        if self.looking is not None:
            with contextlib.suppress(Full):
                self.looking.submit(SharedStore.close)

    async def _done(
        self, pool: Pool[HeldRegister], asked: Asked, job: Callable[[HeldRegister], Done]
    ) -> Done:
        """Let a worker do a job, after it has looked whether the register has changed.

        Raises:
            Refused: Too many wait, or it is a user's error.
            ClientGone: Nobody waits for it any more; if it had not begun, it never will.
        """

        def renewed(held: HeldRegister) -> Done:
            held.renew()
            return job(held)

        try:
            future = pool.submit(renewed)
        except Full as full:
            raise busy(full.seconds) from None
        try:
            return await _while_there(future, asked.receive)
        except EdgeRetrievalError as error:
            raise self.refusal(error) from error
        finally:
            pool.forget(future)  # nothing, if it has been done

    def refusal(self, error: EdgeRetrievalError) -> Refused:
        """Tell a user's error without the register's path, and without the store's address."""
        store = self.store.address if self.store is not None else None
        if isinstance(error, StoreError) and str(error) != self._said:
            self._said = str(error)  # once: who searches again and again is told by the page
            print(f"store: {self._said}", file=sys.stderr)
        return refusal_of(error, str(self.folder), register_name(self.folder), store)


def _held(folder: Path, memory: Memory, store: SharedStore | None) -> HeldRegister:
    """Open the register to search in it; a store that does not hold it is told at once."""
    held = HeldRegister(folder, memory, store=store)
    try:
        with held.finding():
            return held
    except BaseException:
        held.close()
        raise


async def _while_there(future: Future[Done], receive: Receive) -> Done:
    """Wait for a job as long as the client does."""
    done = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_gone(receive))
    both: set[asyncio.Future[Any]] = {done, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientGone
        if done.cancelled():  # the server is being stopped
            raise busy(1)
        return done.result()
    finally:
        gone.cancel()
        done.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
