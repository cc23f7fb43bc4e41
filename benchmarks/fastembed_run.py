"""One run of fastembed over files, for indexing.py: in an interpreter that has fastembed.

    python benchmarks/fastembed_run.py MODEL SHEETS LIMIT OPTIONS

Prints what it took as JSON. Imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    """Embed the sheets whole."""
    from fastembed import ImageEmbedding

    model, sheets, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    options = json.loads(sys.argv[4])
    threads = {"threads": options.pop("threads")} if "threads" in options else {}
    embedding = ImageEmbedding(
        "Qdrant/resnet50-onnx", specific_model_path=model, local_files_only=True, **threads
    )
    files = [str(path) for path in sorted(sheets.iterdir())][: limit or None]
    before, began = os.times(), time.perf_counter()
    done = sum(1 for _ in embedding.embed(files, **options))
    seconds, after = time.perf_counter() - began, os.times()
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # With `parallel` its processes are children of a server's: what they take is not told here.
    cpu = None if "parallel" in options else sum(after[:4]) - sum(before[:4])
    print(
        json.dumps(
            {
                "sheets": done,
                "figures": 0,
                "seconds": seconds,
                "cpu": cpu,
                "peak_memory": int(told["VmHWM"].split()[0]) * 1024,
                "version": version("fastembed"),
            }
        )
    )


if __name__ == "__main__":
    main()
