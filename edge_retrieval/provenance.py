"""Where a bundle, a register or a report came from: versions, host, time, hashes of inputs."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from edge_retrieval import __version__

PACKAGES = (
    "numpy", "pillow", "onnxruntime", "hnswlib", "openvino", "torch", "timm", "onnx", "nncf",
)  # fmt: skip


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def now() -> str:
    """Return the present time, UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of each dependency that is installed.

    Distributions are asked, not imported: importing torch to read its version would cost seconds.
    """
    import platform
    from importlib import metadata  # it loads all of e-mail: a search never asks for versions

    found = {"edge-retrieval": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    import platform

    told = _cpuinfo()
    for key in ("model name", "Model", "Hardware"):  # x86; Raspberry Pi; older ARM kernels
        if told.get(key):
            return told[key]
    if told.get("CPU part"):  # 64-bit ARM without a name, as in servers
        return f"ARM {told.get('CPU implementer', '?')}, part {told['CPU part']}"
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _sysctl(name: str) -> str | None:
    """Return what macOS tells of itself; None where it does not."""
    import subprocess

    try:
        told = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def cpu_flags() -> list[str]:
    """Return the processor's vector extensions that decide how INT8 runs."""
    wanted = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm"}
    told = _cpuinfo()
    return sorted(wanted & set((told.get("flags") or told.get("Features") or "").split()))


def _cpuinfo() -> dict[str, str]:
    """Read /proc/cpuinfo as its first processor's keys and values; {} where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found.setdefault(key.strip(), value.strip())
    return found


def available_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by its control group."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(seen or 1, int(cgroup_cores() or seen or 1)))


def cgroup_cores(root: Path = Path("/")) -> float | None:
    """Return how many cores' time a container's control group allows; None: no limit is known.

    Args:
        root: Where /proc and /sys are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return None
    mount = root / "sys/fs/cgroup"
    limits = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":  # version 2: every group above limits, too
            folder = mount
            for part in ("", *Path(group).parts[1:]):
                folder = folder / part
                limits.append(_cores_of(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for folder in (mount / "cpu", mount / "cpu" / group.lstrip("/")):
                limits.append(_cores_of(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
    return min((limit for limit in limits if limit), default=None)


def _cores_of(*files: Path) -> float | None:
    """Return quota / period as one or two files tell them; None where there is no limit."""
    try:
        quota, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: no limit
        return None


def host() -> dict[str, str | int | list[str]]:
    """Return what a measurement must be read with: processor, cores, system. No names of people."""
    import platform

    return {
        "cpu": cpu_model(),
        "flags": cpu_flags(),
        "cores": available_cores(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }
