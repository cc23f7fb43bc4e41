"""The machine that a measurement holds for, as far as it tells; what it does not tell is absent.

    cpu        str     name of the processor
    flags      [str]   its vector extensions that decide how INT8 runs
    machine    str     "x86_64", "aarch64"
    cores      int     that this process may use
    logical    int     that the system has
    physical   int     that the system has, hyperthreads not counted
    memory     int     bytes that the system has
    board      str     "Raspberry Pi 5 Model B Rev 1.0"
    limits     {}      of the control group (a container): "cores" float, "memory" bytes
    kernel     str     its release
    system     str     "Linux 6.8", "Darwin 24.1"
    os         str     "Debian GNU/Linux 12 (bookworm)"
    governor   str     of the clock; "performance, schedutil" where cores differ
    python     str     "CPython 3.11.9"

No names of people, machines or networks. `same_machine` decides by what does not change from one
day to the next.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_retrieval import provenance

ROOT = Path("/")

STABLE = ("cpu", "flags", "machine", "cores", "logical", "physical", "board")
"""What must be equal in two reports of one machine, where both tell it."""

MEMORY_NEAR = 0.02
"""A kernel keeps more or less memory for itself from start to start."""

UNLIMITED = 1 << 60
"""Version 1 of control groups says so, or more, where memory is not limited."""


def host(root: Path = ROOT) -> dict[str, Any]:
    """Return what this machine tells of itself.

    Args:
        root: Where /proc, /sys and /etc are.
    """
    import platform

    told: dict[str, Any] = {
        **provenance.host(),
        "logical": os.cpu_count(),
        "physical": _physical(root),
        "memory": _memory(root),
        "board": board(root),
        "limits": limits(root),
        "kernel": platform.release(),
        "os": _os(root),
        "governor": governor(root),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    return {key: value for key, value in told.items() if value not in (None, "", {})}


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two reports can be of one machine: nothing lasting differs that both tell.

    Kernel, governor and versions may change: they are part of what is compared. Two boards of one
    kind cannot be told apart.
    """
    if not one.get("cpu") or not other.get("cpu"):
        return False
    if any(one[key] != other[key] for key in STABLE if key in one and key in other):
        return False
    here, there = one.get("memory"), other.get("memory")
    if not isinstance(here, int) or not isinstance(there, int):
        return True
    return abs(here - there) <= MEMORY_NEAR * max(here, there)


def board(root: Path = ROOT) -> str | None:
    """Return the board's model, as a Raspberry Pi tells it."""
    return text_in(root / "proc/device-tree/model")


def governor(root: Path = ROOT) -> str | None:
    """Return what chooses the clock; all of them, where cores differ."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({told for file in files if (told := text_in(file))})) or None


def limits(root: Path = ROOT) -> dict[str, float]:
    """Return what a container's control group allows: "cores", "memory" in bytes."""
    found: dict[str, float] = {}
    if cores := provenance.cgroup_cores(root):
        found["cores"] = cores
    if memory := _memory_limit(root):
        found["memory"] = memory
    return found


def _memory_limit(root: Path) -> int | None:
    """Return the least memory that any group above this process allows, version 1 or 2."""
    mount = root / "sys/fs/cgroup"
    told = []
    for line in (text_in(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":
            folder = mount
            for part in ("", *Path(group).parts[1:]):
                folder = folder / part
                told.append(number_in(folder / "memory.max"))
        elif "memory" in controllers.split(","):
            for part in ("", group.lstrip("/")):
                told.append(number_in(mount / "memory" / part / "memory.limit_in_bytes"))
    return min((limit for limit in told if limit and limit < UNLIMITED), default=None)


def _physical(root: Path) -> int | None:
    """Return how many cores there are, threads of one core counted once."""
    pairs: set[tuple[object, ...]] = set()
    for core in (root / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        siblings = text_in(core / "topology/thread_siblings_list")
        if siblings is not None:  # sure, where the numbers of cores start anew in each cluster
            pairs.add((siblings,))
            continue
        package = number_in(core / "topology/physical_package_id")
        number = number_in(core / "topology/core_id")
        if number is not None:
            pairs.add((package, number))
    return len(pairs) or None


def _memory(root: Path) -> int | None:
    for line in (text_in(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    if root == ROOT and hasattr(os, "sysconf"):  # macOS
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError):
            return None
    return None


def _os(root: Path) -> str | None:
    for line in (text_in(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return None


def number_in(file: Path) -> int | None:
    """Return the whole number that a file of the system says; None if it says none."""
    told = text_in(file)
    return int(told) if told and told.lstrip("-").isdigit() else None


def text_in(file: Path) -> str | None:
    """Return what a file of the system says; None if it says nothing or may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None
