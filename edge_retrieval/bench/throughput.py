"""How many figures a second the first contestant embeds, by threads and batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_retrieval.bench.contestants import Contestant
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.settings import BATCHES, BenchSettings
from edge_retrieval.drawing import FigureImage, fit_batch
from edge_retrieval.encoder import load_encoder
from edge_retrieval.provenance import available_cores
from edge_retrieval.report import Measurement


def thread_counts(cores: int, asked: int) -> list[int]:
    """Return 1, 2, 4 ... up to the cores, all of them, and what was asked for."""
    doubled = [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]
    return sorted({*doubled, cores, asked})


def measure_throughput(
    figures: Sequence[FigureImage], first: Contestant, settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `throughput` by threads and batch, measured in turn.

    Before each batch that counts stands one that does not, as in `speed.compare_speed`.
    """
    counts = thread_counts(available_cores(), first.threads)
    crowd = [
        replace(
            first,
            threads=threads,
            encoder=load_encoder(first.bundle, backend=first.encoder.backend, threads=threads),
        )
        for threads in counts
    ]
    images = fit_batch(
        [figures[i % len(figures)] for i in range(max(BATCHES))], first.bundle.preprocessing
    )  # (B, C, H, W)
    samples: dict[tuple[int, int], list[float]] = {}
    least, most = settings.rounds("throughput")
    budget = settings.budget("throughput")
    for _ in course.rounds("Embedding in batches", budget, least, most):
        for one in crowd:
            for batch in BATCHES:
                some = np.ascontiguousarray(images[:batch])
                one.encoder.embed(some)
                start = time.perf_counter()
                one.encoder.embed(some)
                seconds = time.perf_counter() - start
                samples.setdefault((one.threads, batch), []).append(batch / seconds)
    labels = first.labels
    return [
        Measurement("throughput", "1/s", tuple(rates), {**labels, "threads": t, "batch": batch})
        for (t, batch), rates in samples.items()
    ]
