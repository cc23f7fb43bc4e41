"""Run a command and print its CPU seconds, wall seconds, peak memory and exit code as JSON.

    python -S benchmarks/meter.py COMMAND ...

Apart and small on purpose: a child's peak memory, as the system tells it, is at least that of the
process which started it.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Run one command; what it prints goes nowhere."""
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    begun = time.perf_counter()
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    code = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cpu = used.ru_utime + used.ru_stime
    print(f'{{"cpu": {cpu:.6f}, "wall": {wall:.6f}, "peak": {peak}, "code": {code}}}')


if __name__ == "__main__":
    main()
