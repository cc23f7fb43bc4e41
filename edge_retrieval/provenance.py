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
    return platform.processor() or platform.machine()


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
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
