"""Run a command and print its CPU seconds, wall seconds, peak memory and exit code as JSON.

    python -S benchmarks/meter.py COMMAND ...
    python -S benchmarks/meter.py --keep FOLDER COMMAND ...

Apart and small on purpose: a child's peak memory, as the system tells it, is at least that of the
process which started it. With `--keep`, what the command says goes to FOLDER/stdout and
FOLDER/stderr instead of nowhere, whatever it leaves running is waited for and counted, and "total"
is the most memory that all its processes held at once: read every 20 ms, pages that they share
counted once. "peak" is that of the largest process.
No pathlib here: it would make this process larger.
"""

from __future__ import annotations

import os
import sys
import time

EVERY = 0.02
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run one command; what it prints goes nowhere."""
    if sys.argv[1] == "--keep":
        keep(sys.argv[2], sys.argv[3:])
        return
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    begun = time.perf_counter()
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    code = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cpu = used.ru_utime + used.ru_stime
    print(f'{{"cpu": {cpu:.6f}, "wall": {wall:.6f}, "peak": {peak}, "code": {code}}}')


def keep(folder: str, command: list[str]) -> None:
    """Run one command with all that it starts, and keep what it prints."""
    import threading

    adopt_orphans()
    made = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, number, f"{folder}/{name}", made, 0o600)
        for number, name in ((1, "stdout"), (2, "stderr"))
    ]
    ended, most = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(EVERY):
            most[0] = max(most[0], held(os.getpid()))

    watcher = threading.Thread(target=watch)
    begun = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=files)
    watcher.start()
    cpu, peak, wall, code = 0.0, 0, 0.0, 0
    while True:
        try:
            number, status, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        if number == child:
            wall, code = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    total = max(most[0], peak)
    print(
        f'{{"cpu": {cpu:.6f}, "wall": {wall:.6f}, "peak": {peak}, "total": {total},'
        f' "code": {code}}}'
    )


def adopt_orphans() -> None:
    """Become the parent of what a child leaves running, so that it can be waited for (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def held(parent: int) -> int:
    """Return the bytes that all below a process hold; of shared pages, the largest share once.

    0 where the system does not tell (Linux does).
    """
    own, shared, page = 0, 0, os.sysconf("SC_PAGE_SIZE")
    waiting = children(parent)
    while waiting:
        process = waiting.pop()
        waiting += children(process)
        try:
            with open(f"/proc/{process}/statm") as file:  # noqa: PTH123
                _, resident, common = map(int, file.read().split()[:3])
        except (OSError, ValueError):  # it has ended
            continue
        own += resident - common
        shared = max(shared, common)
    return (own + shared) * page


def children(process: int) -> list[int]:
    """Return the processes that all threads of one have started."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208
            with open(f"/proc/{process}/task/{thread}/children") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    except OSError:  # it has ended
        return found
    return found


if __name__ == "__main__":
    main()
