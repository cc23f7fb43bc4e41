"""Processes that answer on standard output what they are asked, one for each thread of a pool.

They cut sheets, or cut and embed whole shards. A process that dies takes with it what it was at,
and another is started in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TypeVar

T = TypeVar("T")


class NoProcessError(Exception):
    """No process can be started."""


class EndedError(Exception):
    """A process has ended while it was asked.

    Attributes:
        how: " (SIGKILL)", " (exit code 1)".
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Crew:
    """Threads, each of which speaks with a process of its own.

    Args:
        size: How many.
        start: Starts a process; OSError if it cannot be.
        greet: Says hello over its output and input; False, or an error of reading or writing, if
            it does not answer.
        name: That of the threads begins so.
    """

    def __init__(
        self,
        size: int,
        start: Callable[[], subprocess.Popen[bytes]],
        greet: Callable[[IO[bytes], IO[bytes]], bool],
        *,
        name: str,
    ) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._make = start
        self._greet = greet
        self._own = threading.local()  # each thread of the pool speaks with one process
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done in a thread, in which it may `ask`."""
        return self._pool.submit(work)

    def ask(self, question: Callable[[IO[bytes], IO[bytes]], T]) -> T:
        """Ask the process of this thread, over its output and input.

        Raises:
            NoProcessError: None can be started.
            EndedError: It has ended.
        """
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = self._start()
        if process is None:
            raise NoProcessError
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            return question(process.stdout, process.stdin)
        except (EOFError, OSError, ValueError) as error:
            self._own.process = None
            with self._lock:
                self._processes.discard(process)
            raise EndedError(_end(process)) from error

    def close(self) -> None:
        """End the processes, whatever they are at; none is left."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._processes:
            _end(process)

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start a process; None if it cannot be."""
        with self._lock:
            if self._closed:
                return None
            try:
                process = self._make()
            except OSError:
                return None
            self._processes.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if self._greet(process.stdout, process.stdin):
                return process
        except (EOFError, OSError, ValueError):
            pass
        with self._lock:
            self._processes.discard(process)
        _end(process)
        return None


def started(code: str) -> subprocess.Popen[bytes]:
    """Start Python with some code, in a group of its own: Ctrl-C is for the one who asks.

    Args:
        code: Given `sys.path`, as JSON, as its first argument.
    """
    command = [sys.executable, "-c", code, json.dumps(sys.path)]
    few = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    environment = {**os.environ, **few}
    pipe = subprocess.PIPE
    if sys.platform == "win32":
        apart = subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, env=environment, creationflags=apart
        )
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, process_group=0)


def _end(process: subprocess.Popen[bytes]) -> str:
    """End a process, let go of its pipes, and return how it ended, as " (SIGKILL)"."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)  # one that is ending is given the time to say how
    process.kill()
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    if code < 0:
        with contextlib.suppress(ValueError):
            return f" ({signal.Signals(-code).name})"
    return f" (exit code {code})"
