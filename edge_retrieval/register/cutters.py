"""Processes that cut sheets while the one that asked embeds and commits.

Processes, not threads: most of a cut is many short calls of numpy, and those wait for each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from edge_retrieval.drawing.fit import Preprocessing
from edge_retrieval.drawing.ready import ReadyFigure, SheetTask, ask, greet, make_ready, receive
from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import current, within

ENOUGH_SHEETS = 32
ENOUGH_BYTES = 8 << 20
"""Processes are started once there was so much to cut: to start one costs as much as ten sheets."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from edge_retrieval.drawing.ready import serve; serve()"
)


class Cut:
    """A sheet that is being cut, or will be when it is asked for."""

    def __init__(self, task: SheetTask, preprocessing: Preprocessing) -> None:
        self.task: SheetTask | None = task
        self.future: Future[list[ReadyFigure]] | None = None
        self._preprocessing = preprocessing

    def result(self) -> list[ReadyFigure]:
        """Return the figures, once; wait for them, or cut here and now.

        Raises:
            DrawingError: It cannot be read, or the process that read it has ended.
        """
        task, self.task = self.task, None
        if self.future is not None:
            return self.future.result()
        assert task is not None
        return make_ready(task, self._preprocessing)


class Cutters:
    """Cuts sheets, in processes of their own if there are enough of them.

    Used in a `with` statement; at its end no process is left. A process that dies takes one sheet
    with it, and another is started in its place.

    Args:
        preprocessing: What figures are fitted to.
        jobs: Processes; 1 cuts here.
    """

    def __init__(self, preprocessing: Preprocessing, jobs: int) -> None:
        self._preprocessing = preprocessing
        self._jobs = jobs
        self._limits = current()  # threads have their own
        self._held: list[Cut] = []
        self._sheets = self._bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._own = threading.local()  # each thread of the pool speaks with one process
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def __enter__(self) -> Cutters:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for process in self._processes:
            _end(process)

    def submit(self, task: SheetTask) -> Cut:
        """Have a sheet cut."""
        cut = Cut(task, self._preprocessing)
        self._held.append(cut)
        self._sheets += 1
        self._bytes += len(task.data)
        enough = self._sheets >= ENOUGH_SHEETS or self._bytes >= ENOUGH_BYTES
        if self._jobs > 1 and (self._pool is not None or enough):
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="cutter")
            for held in self._held:
                if held.task is not None:
                    held.future = self._pool.submit(self._ask, held.task)
            self._held.clear()
        elif self._jobs == 1:
            self._held.clear()
        return cut

    def _ask(self, task: SheetTask) -> list[ReadyFigure]:
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = self._start()
        if process is None:  # there is none to be had
            with within(self._limits):
                return make_ready(task, self._preprocessing)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            return ask(process.stdout, process.stdin, task)
        except (EOFError, OSError, ValueError) as error:
            self._own.process = None
            with self._lock:
                self._processes.discard(process)
            raise DrawingError(
                f"{task.where}: the process that cut it ended{_end(process)}",
                hint="try it alone; too little memory ends processes as well",
            ) from error

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start a process; None if it cannot be."""
        with self._lock:
            if self._closed:
                return None
            try:
                process = _started()
            except OSError:
                return None
            self._processes.add(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            greet(process.stdin, self._preprocessing, self._limits)
            if receive(process.stdout) is not None:
                return process
        except (EOFError, OSError, ValueError):
            pass
        with self._lock:
            self._processes.discard(process)
        _end(process)
        return None


def _started() -> subprocess.Popen[bytes]:
    """Start a process that serves, in a group of its own: Ctrl-C is for the one who asks."""
    command = [sys.executable, "-c", _START, json.dumps(sys.path)]
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
