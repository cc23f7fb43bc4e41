"""What does INT8 buy on this machine: seconds, bytes, agreement?

    python benchmarks/precision.py path/to/small-fp32 path/to/small-int8 path/to/uspto-multiview

One figure at a time, one thread, FP32 and INT8 in turn in one process, so that a noisy machine
disturbs both alike. Writes benchmarks/results/precision.json with every sample.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from baselines import RESULTS, read_figures

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder import embed_figures, load_encoder
from edge_retrieval.index import FlatIndex
from edge_retrieval.metrics import overlap_at_k
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

WARM_UP = 20


def main() -> None:
    """Measure both bundles on the same figures, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("source", type=Path, help="folder with metadata.csv")
    parser.add_argument("--rounds", type=int, default=300)
    args = parser.parse_args()
    masters, _, _ = read_figures(args.source)
    result: dict[str, object] = {
        "question": "what does INT8 buy on this machine",
        "host": host(),
        "versions": versions(),
        "created": now(),
        "figures": len(masters),
        "rounds": args.rounds,
    }
    rows = []
    bundles = {"fp32": Bundle.open(args.fp32), "int8": Bundle.open(args.int8)}
    exact = {}
    for backend in ("onnx", "openvino"):
        encoders = {
            name: load_encoder(bundle, backend=backend, threads=1)
            for name, bundle in bundles.items()
        }
        samples: dict[str, list[float]] = {name: [] for name in encoders}
        for turn in range(-WARM_UP, args.rounds):
            images = fit_batch([masters[turn % len(masters)]], bundles["fp32"].preprocessing)
            for name, encoder in encoders.items():
                start = time.perf_counter()
                encoder.embed(images)
                if turn >= 0:
                    samples[name].append(time.perf_counter() - start)
        for name, encoder in encoders.items():
            vectors = embed_figures(encoder, masters)
            found, _ = FlatIndex(vectors).search(vectors, 11)
            exact.setdefault("vectors", vectors)  # FP32 on onnxruntime: the first one
            exact.setdefault("found", found)
            rows.append(
                {
                    "precision": name,
                    "backend": backend,
                    "bytes": bundles[name].files["model.onnx"].bytes,
                    "seconds": samples[name],
                    "mean_cosine": float((vectors * exact["vectors"]).sum(axis=1).mean()),
                    # the figure itself is always first: compare the ten behind it
                    "overlap@10": float(
                        np.mean(overlap_at_k(found[:, 1:], exact["found"][:, 1:], 10))
                    ),
                }
            )
            print(backend, name, f"{statistics.median(samples[name]) * 1e3:.2f} ms")
    result["rows"] = rows
    save_json(RESULTS / "precision.json", result)


if __name__ == "__main__":
    main()
