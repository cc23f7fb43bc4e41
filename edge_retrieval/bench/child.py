"""A fresh process that loads so much and no more, and tells what it holds or how long it takes.

    python -m edge_retrieval.bench.child '{"what": "memory", "part": "model", ...}'

Nothing is imported here that is not needed to answer: what is imported is weighed.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Answer one question, as JSON."""
    question: dict[str, Any] = json.loads(sys.argv[1])
    what = question.pop("what")
    print(json.dumps(memory(**question) if what == "memory" else growth(**question)))


def memory(part: str, register: str, sheet: str, backend: str, threads: int) -> dict[str, int]:
    """Load a part and those before it, use them once, and tell what this process holds."""
    if part == "interpreter":
        return held()
    import numpy as np
    import onnxruntime  # noqa: F401  what a search loads

    from edge_retrieval.bundle import Bundle
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.register.opening import open_bundle

    if backend == "openvino":
        from edge_retrieval.encoder import import_openvino

        import_openvino()
    if part == "runtime":
        return held()
    from pathlib import Path

    bundle: Bundle
    _, bundle = open_bundle(Path(register))
    encoder = load_encoder(bundle, backend=backend, threads=threads, keep=True)
    size, channels = bundle.preprocessing.size, bundle.preprocessing.channels
    encoder.embed(np.zeros((1, channels, size, size), np.float32))
    if part == "model":
        return held()
    from edge_retrieval.register import Register
    from edge_retrieval.search import query_from_bytes, search

    opened = Register.open(Path(register))
    search(opened, [query_from_bytes(Path(sheet).read_bytes(), sheet)], encoder)
    return held()


def growth(folder: str, index: str, dim: int, turn: int) -> dict[str, Any]:
    """Search among made vectors: see `growth.searched`."""
    from edge_retrieval.bench.growth import searched

    return searched(folder, index, dim, turn)


def held() -> dict[str, int]:
    """Return what this process holds in bytes, as far as the system tells.

    Returns:
        "rss" resident, "pss" with shared pages counted in parts, "peak" the most that was resident.
    """
    found: dict[str, int] = {}
    for file, names in (
        ("status", {"VmRSS:": "rss", "VmHWM:": "peak"}),
        ("smaps_rollup", {"Pss:": "pss"}),
    ):
        try:
            with open(f"/proc/self/{file}", encoding="ascii", errors="replace") as lines:  # noqa: PTH123
                for line in lines:
                    name, *rest = line.split()
                    if name in names:
                        found[names[name]] = int(rest[0]) * 1024
        except OSError:
            continue
    if "rss" not in found and sys.platform == "darwin":
        found = of_macos()
    return found


def of_macos() -> dict[str, int]:
    """Return the same where there is no /proc."""
    import os
    import resource
    import subprocess

    told = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    ).stdout
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rss": int(told) * 1024, "peak": peak}


if __name__ == "__main__":
    main()
