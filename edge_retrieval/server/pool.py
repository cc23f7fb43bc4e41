"""Threads that do what requests ask for, and the bounded queue before them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

LONGEST_WAIT = 30
"""Seconds that a client is told to wait, at most."""

PATIENCE = 5.0
"""Seconds that a stop waits for what is being done."""

FRESH = 0.2
"""Share of the last job in the mean time of a job."""


class Closing(Protocol):
    """What can be let go of."""

    def close(self) -> None:
        """Let go."""


Tool = TypeVar("Tool", bound=Closing)
Done = TypeVar("Done")


class Full(Exception):
    """There is no room for another job.

    Attributes:
        seconds: After which there may be.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"full for {seconds} s")
        self.seconds = seconds


class Pool(Generic[Tool]):
    """Threads with a tool each, made and used in that thread alone.

    Args:
        name: Of the threads.
        make: Makes a tool.
        threads: How many.
        queue: Jobs that may wait beyond those that are being done.
    """

    def __init__(self, name: str, make: Callable[[], Tool], *, threads: int, queue: int) -> None:
        self._make = make
        self._room = threads + queue
        self._count = threads
        self._name = name
        self._waiting: deque[tuple[Future[Any], Callable[[Tool], Any]]] = deque()
        self._running = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._seconds = 0.05
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads and wait until each has its tool; raise what kept one from it."""
        ready: list[Future[None]] = [Future() for _ in range(self._count)]
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, args=(mark,), name=f"{self._name}-{i}", daemon=True)
            for i, mark in enumerate(ready)
        ]
        for thread in self._threads:
            thread.start()
        try:
            for mark in ready:
                mark.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Give up what waits, and let the threads end."""
        with self._changed:
            self._stopped = True
            left = [future for future, _ in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        for future in left:
            future.cancel()
        for thread in self._threads:
            thread.join(PATIENCE)

    def submit(self, job: Callable[[Tool], Done]) -> Future[Done]:
        """Put a job in the queue.

        Raises:
            Full: As many wait as may.
        """
        future: Future[Done] = Future()
        with self._changed:
            self._require_room()
            self._waiting.append((future, job))
            self._changed.notify()
        return future

    def require_room(self) -> None:
        """Raise `Full` if a job would find no room now."""
        with self._changed:
            self._require_room()

    def _require_room(self) -> None:
        if self._stopped or len(self._waiting) + self._running >= self._room:
            raise Full(self._wait())

    def forget(self, future: Future[Any]) -> None:
        """Take a job out of the queue for which nobody waits; one that is being done goes on."""
        if not future.cancel():
            return
        with self._changed:
            self._waiting = deque(one for one in self._waiting if one[0] is not future)

    def _wait(self) -> int:
        jobs = len(self._waiting) + self._running
        seconds = math.ceil(self._seconds * jobs / max(1, self._count))
        return max(1, min(LONGEST_WAIT, seconds))

    def _work(self, ready: Future[None]) -> None:
        try:
            tool = self._make()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            while (taken := self._take()) is not None:
                self._do(*taken, tool)
        finally:
            tool.close()

    def _take(self) -> tuple[Future[Any], Callable[[Tool], Any]] | None:
        with self._changed:
            while not self._waiting and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _do(self, future: Future[Any], job: Callable[[Tool], Any], tool: Tool) -> None:
        begun = time.monotonic()
        found: Any = None
        failed: BaseException | None = None
        wanted = future.set_running_or_notify_cancel()
        try:
            found = job(tool) if wanted else None
        except BaseException as error:
            failed = error
        with self._changed:  # before it is told: who hears of it may ask for more at once
            self._running -= 1
            taken = time.monotonic() - begun
            self._seconds += FRESH * (taken - self._seconds)
        if failed is not None:
            future.set_exception(failed)
        elif wanted:
            future.set_result(found)
