"""What a search costs on this very device: seconds by stage, bytes of memory, raw samples kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import cut_sheet, fit_batch
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import EvaluationError
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register
from edge_retrieval.report import Measurement, Report
from edge_retrieval.search import Query, search

WARM_UP = 3
"""Rounds that are run and thrown away: first calls allocate, page in and choose kernels."""


def peak_memory() -> int | None:
    """Return the most memory that this process has held resident, in bytes; None if unknown."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kilobytes


def bench(
    register: Register,
    sheets: Sequence[Path],
    *,
    runs: int = 30,
    k: int = 10,
    backend: str | None = None,
    threads: int = 1,
    track: Track = silent,
) -> Report:
    """Measure one search, stage by stage, one drawing at a time.

    Args:
        register: What is searched; its bundle embeds.
        sheets: Drawings to search with, taken in turn.
        runs: Searches that are counted.
        k: Designs asked for.
        backend: "onnx" or "openvino"; None: what the bundle is made for. Choose before measuring:
            "auto" would count its choosing as loading.
        threads: Threads of the encoder.
        track: Shows the runs.

    Returns:
        A report with `latency.decode` (sheet to figures), `latency.fit` (figures to the encoder's
        input), `latency.embed`, `latency.search`, `latency.total` in seconds with one sample a run,
        `load.encoder` in seconds and `memory.peak` in bytes with one sample.

    Raises:
        EvaluationError: No drawing, or no runs.
    """
    if not sheets or runs < 1:
        raise EvaluationError(
            "nothing to measure: no drawing or no runs", hint="give a drawing and --runs 1 or more"
        )
    bundle: Bundle = register.bundle
    start = time.perf_counter()
    encoder = load_encoder(bundle, backend=backend, threads=threads)
    load_seconds = time.perf_counter() - start
    pages = [(str(path), path.read_bytes()) for path in sheets]
    stages: dict[str, list[float]] = {
        name: [] for name in ("decode", "fit", "embed", "search", "total")
    }
    for run in track(range(-WARM_UP, runs), "Measuring", WARM_UP + runs):
        name, data = pages[run % len(pages)]
        t0 = time.perf_counter()
        figures = cut_sheet(data, where=name)
        t1 = time.perf_counter()
        images = fit_batch(figures, bundle.preprocessing)  # (N, C, H, W)
        t2 = time.perf_counter()
        embeddings = encoder.embed(images)  # (N, D)
        t3 = time.perf_counter()
        query = Query(name=name, figures=figures)
        search(register, [query], embeddings=[embeddings], k=k)
        t4 = time.perf_counter()
        if run < 0:
            continue
        for stage, seconds in zip(
            stages, (t1 - t0, t2 - t1, t3 - t2, t4 - t3, t4 - t0), strict=True
        ):
            stages[stage].append(seconds)
    measurements = [
        Measurement(f"latency.{stage}", "s", tuple(samples)) for stage, samples in stages.items()
    ]
    measurements.append(Measurement("load.encoder", "s", (load_seconds,)))
    peak = peak_memory()
    if peak is not None:
        measurements.append(Measurement("memory.peak", "B", (float(peak),)))
    return Report.of(
        "search latency",
        measurements,
        settings={
            "bundle": bundle.name,
            "precision": bundle.precision,
            "fingerprint": bundle.fingerprint,
            "size": bundle.preprocessing.size,
            "backend": encoder.backend,
            "threads": threads,
            "runs": runs,
            "k": k,
            "drawings": len(pages),
            "designs": register.designs_count,
            "figures": register.figures_count,
        },
    )
