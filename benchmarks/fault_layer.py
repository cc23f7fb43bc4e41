"""`edge-ret` with a layer between it and the files, which fails, or sends a signal, when told to.

    python benchmarks/fault_layer.py '{"root": "work", "at": 7, "error": "ENOSPC"}' index sheets

Every step that changes a file beneath `root` is counted: opening to write, writing, truncating,
forcing to the disk, renaming, making and removing; of SQLite what begins and ends a transaction.
The step `at` is where it happens; what cannot be seen from Python (the writes of SQLite and of
onnxruntime themselves) meets full disks and limits in `faults.py`.

What it can be told, all of it optional:

    at, error, once    the step fails so, and all that follow, or it alone
    signal, after      the process gets a signal before the step, or right after it
    jump               from that step on the clock of the day is so many seconds away
    limits             {"RLIMIT_AS": bytes, ...}
    steps              a file to write the names of all steps to, in the end
    peak               a file to write the most bytes to that were resident
    ready              a handle on which a byte tells that the command begins
"""

from __future__ import annotations

import builtins
import contextlib
import datetime
import errno
import io
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OPENS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FREES = ("unlink", "rmdir", "rename", "chmod")
"""What a full disk allows."""

SQLITE = {
    errno.ENOSPC: "database or disk is full",
    errno.EIO: "disk I/O error",
    errno.EACCES: "attempt to write a readonly database",
}


class Layer:
    """Counts steps, and lets happen what shall happen at one of them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.root = str(Path(told["root"]).resolve())
        self.at = int(told.get("at", -1))
        self.error = getattr(errno, told["error"]) if "error" in told else 0
        self.once = bool(told.get("once"))
        self.signal = getattr(signal, told["signal"]) if "signal" in told else 0
        self.after = bool(told.get("after"))
        self.jump = float(told.get("jump", 0))
        self.steps: list[str] = []
        self.offset = 0.0
        self._were: list[tuple[Any, str, Any]] = []

    def put(self, place: Any, name: str, value: Any) -> None:
        """Put something in the place of a function."""
        self._were.append((place, name, getattr(place, name)))
        setattr(place, name, value)

    def lift(self) -> None:
        """Let everything be as it was."""
        while self._were:
            setattr(*self._were.pop())

    def inside(self, path: Any) -> bool:
        """Say whether a path, or an open file, is beneath the root."""
        try:
            if isinstance(path, int):
                path = Path(f"/proc/self/fd/{path}").readlink()
            whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  links stay
        except (OSError, TypeError):
            return False
        return whole == self.root or whole.startswith(self.root + os.sep)

    def step(self, name: str, path: Any, *, to: Any = None) -> Callable[[], None]:
        """Count a step, and fail if that is due; return what is to be called after it."""
        if not self.inside(path):
            return _nothing
        number = len(self.steps)
        shown = os.path.basename(os.fsdecode(path)) if not isinstance(path, int) else "a file"  # noqa: PTH119
        self.steps.append(f"{name} {shown}")
        due = number == self.at or (number > self.at >= 0 and not self.once)
        full = self.error == errno.ENOSPC and name in FREES
        if self.error and due and not full:
            raise self.failed(name, path)
        if number == self.at:
            self.offset = self.jump
            if self.signal:
                if self.after:
                    return lambda: os.kill(os.getpid(), self.signal)
                os.kill(os.getpid(), self.signal)
        return _nothing

    def failed(self, name: str, path: Any) -> Exception:
        """Return the error of a step."""
        if name.startswith("sql"):
            return sqlite3.OperationalError(SQLITE[self.error])
        shown = None if isinstance(path, int) else os.fsdecode(path)
        return OSError(self.error, os.strerror(self.error), shown)


def _nothing() -> None:
    """Do nothing."""


def watch_files(layer: Layer) -> None:
    """Let every change of a file pass the layer."""
    real_open, real_os_open = io.open, os.open

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            done = layer.step("write", self.name)
            written = super().write(data)
            done()
            return written

        def truncate(self, size: int | None = None) -> int:
            done = layer.step("truncate", self.name)
            size = super().truncate(size)
            done()
            return size

    def opened(
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if not set("wax+") & set(mode) or isinstance(file, int) or not layer.inside(file):
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if opener is not None or buffering == 0:
            layer.step("open", file)()
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        done = layer.step("open", file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        try:
            done()
        except BaseException:
            raw.close()
            raise
        both = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return both
        return io.TextIOWrapper(both, encoding, errors, newline)

    def os_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        done = layer.step("open", path) if flags & OPENS else _nothing
        handle = real_os_open(path, flags, *rest, **more)
        try:
            done()
        except BaseException:
            os.close(handle)
            raise
        return handle

    def stepping(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: Any, *rest: Any, **more: Any) -> Any:
            done = layer.step(name, path)
            try:
                return real(path, *rest, **more)
            finally:
                done()

        return called

    layer.put(io, "open", opened)
    layer.put(builtins, "open", opened)
    layer.put(os, "open", os_open)
    for name in (
        "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "fsync", "ftruncate", "truncate",
        "chmod", "utime", "link", "symlink", "sendfile", "write",
    ):  # fmt: skip
        told = {"remove": "unlink", "replace": "rename"}.get(name, name)
        if hasattr(os, name):
            layer.put(os, name, stepping(told, getattr(os, name)))


def watch_sqlite(layer: Layer) -> None:
    """Let what begins and ends transactions pass the layer."""
    real = sqlite3.connect

    class Connection(sqlite3.Connection):
        place = ""
        inserts = False

        def execute(self, sql: str, *values: Any) -> Any:
            done = _nothing
            words = sql.upper().replace("(", " ").split()
            begins = words[0] in ("INSERT", "UPDATE", "DELETE") and not self.inserts
            self.inserts = words[0] not in ("COMMIT", "ROLLBACK") and (self.inserts or begins)
            ends = words[0] in ("COMMIT", "VACUUM") or words[:2] == ["BEGIN", "IMMEDIATE"]
            if begins or ends or "WAL_CHECKPOINT" in words or "JOURNAL_MODE" in words:
                done = layer.step(f"sql {words[0]}", self.place)
            found = super().execute(sql, *values)
            done()
            return found

        def executescript(self, sql: str) -> Any:
            done = layer.step("sql script", self.place)
            found = super().executescript(sql)
            done()
            return found

    def connect(database: Any, *rest: Any, **more: Any) -> sqlite3.Connection:
        from urllib.parse import unquote, urlsplit

        where = str(database)
        if where.startswith("file:"):
            where = unquote(urlsplit(where).path)
        layer.step("sql connect", where)() if "mode=ro" not in str(database) else None
        made: Connection = real(database, *rest, factory=Connection, **more)
        made.place = where
        return made

    layer.put(sqlite3, "connect", connect)


def watch_clock(layer: Layer) -> None:
    """Let the clock of the day jump; what only counts on goes on counting."""
    seconds, nanoseconds = time.time, time.time_ns
    real = datetime.datetime

    class Moment(real):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + datetime.timedelta(seconds=layer.offset)

    layer.put(time, "time", lambda: seconds() + layer.offset)
    layer.put(time, "time_ns", lambda: nanoseconds() + int(layer.offset * 1e9))
    layer.put(datetime, "datetime", Moment)


@contextlib.contextmanager
def laid(told: dict[str, Any]) -> Iterator[Layer]:
    """Put the layer between this process and its files, inside."""
    layer = Layer(told)
    try:
        if told.get("jump"):
            watch_clock(layer)
        watch_files(layer)
        watch_sqlite(layer)
        yield layer
    finally:
        layer.lift()


def command(told: dict[str, Any]) -> None:
    """Run the command line behind the layer."""
    for name, size in told.get("limits", {}).items():
        import resource

        resource.setrlimit(getattr(resource, name), (size, size))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may ignore it
    between = laid(told) if told.keys() & {"at", "steps"} else contextlib.nullcontext()
    layer = None
    try:
        with between as layer:
            from edge_retrieval.cli import main

            if "ready" in told:
                os.write(told["ready"], b"!")
                os.close(told["ready"])
            main()
    finally:
        if "peak" in told:
            from edge_retrieval.bench.child import held

            Path(told["peak"]).write_text(str(held()["peak"]), encoding="ascii")
        if layer is not None and "steps" in told:
            Path(told["steps"]).write_text("\n".join(layer.steps), encoding="utf-8")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    given = json.loads(sys.argv[1])
    sys.argv = ["edge-ret", *sys.argv[2:]]
    command(given)
