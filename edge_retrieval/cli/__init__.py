"""`edge-ret`: parse, call, print. The only package with typer, rich and exit codes.

stdout is the result; talk, bars and warnings go to stderr. Exit codes: 0 good, 1 something the user
can fix, 2 wrong usage, 3 done but some inputs were skipped (`--strict` turns that into 1), 130
interrupted, 143 told to end (SIGTERM), 129 its terminal was closed: in each of the three after
cleaning up, as after an error.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

EXIT_INTERRUPTED = 130
"""As a shell gives it after Ctrl-C: 128 and the number of the signal."""

SAME = 1.0
"""Seconds within which another signal is the same wish: `timeout` sends it twice."""


MOMENT = 0.01
"""Seconds after which an interrupt that went nowhere comes again."""


class Terminated(KeyboardInterrupt):
    """The process was told to end; whoever cleans up after Ctrl-C cleans up after this."""


def main() -> None:
    """Run the command line; an interrupt ends it quietly, from the first import on.

    SIGTERM and SIGHUP end it as Ctrl-C does: a service that is stopped, or a terminal that is
    closed, leaves nothing behind either.
    """
    with told_to_end() as told:
        try:
            from edge_retrieval.cli.commands import run

            run()
        except KeyboardInterrupt:
            raise SystemExit(told[-1] if told else EXIT_INTERRUPTED) from None
        except SystemExit as stop:  # once a command runs, typer sees to it
            if told and stop.code == EXIT_INTERRUPTED:
                raise SystemExit(told[-1]) from None
            raise


def again_to_main(number: int) -> None:
    """Send the main thread a signal; one that is only noted would not end what it waits for."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


@contextlib.contextmanager
def told_to_end() -> Iterator[list[int]]:
    """Turn SIGTERM and SIGHUP into a `Terminated` in the main thread, inside.

    A signal that is ignored (nohup), or that somebody sees to already, is left alone; so are
    processes that are forked from this one. An interrupt that comes where Python must ignore what
    is raised, Ctrl-C as well, comes again.

    Yields:
        The exit codes of the signals that came.
    """
    told: list[int] = []
    here, last = os.getpid(), 0.0

    def end(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != here:  # a fork, which has nothing to clean up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again, last = bool(told) and time.monotonic() - last < SAME, time.monotonic()
        if not again:
            told.append(128 + number)
            raise Terminated

    def swallowed(what: sys.UnraisableHookArgs) -> None:
        # What is raised in a destructor or in a callback goes nowhere: once more, a moment later.
        nonlocal last
        if not isinstance(what.exc_value, KeyboardInterrupt):
            usual(what)
            return
        last = -SAME
        number = told[-1] - 128 if isinstance(what.exc_value, Terminated) else signal.SIGINT
        threading.Timer(MOMENT, again_to_main, [number]).start()

    usual, sys.unraisablehook = sys.unraisablehook, swallowed
    taken = []
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        with contextlib.suppress(ValueError):  # not in the main thread
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, end)
                taken.append(number)
    try:
        yield told
    finally:
        sys.unraisablehook = usual
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
