"""Which encoder is faster here: measured in turn, so that noise disturbs all of them alike."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.errors import EvaluationError
from edge_retrieval.provenance import available_cores

ROUNDS, WARM_UP = 30, 3
LEAST_ROUNDS = 5
BUSY = 0.7
"""Load of the last minute, per core, above which other programs disturb the times."""


class Embeds(Protocol):
    """What is measured: an encoder, whatever its runtime."""

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1."""
        ...


def compare_speed(
    encoders: Mapping[str, Embeds],
    images: Images,
    *,
    batch: int,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> dict[str, tuple[float, ...]]:
    """Time encoders in turn, one call each a round; the order turns from round to round.

    Before each call that is timed stands one that is not: after it the caches are this encoder's,
    and the threads of the one before have gone to sleep. Without it, two runtimes of two threads
    on two cores measured each other's waiting: 14 ms instead of 1.2 ms.

    Args:
        encoders: Name -> encoder, all of one input shape.
        images: ``(N, C, H, W)`` float32; round after round takes the next `batch` of them, from
            the first again when they end.
        batch: Figures a call, 1 or more.
        rounds: Calls of each encoder that count, 1 or more.
        warm_up: Rounds before that: first calls allocate, page in and choose kernels.

    Returns:
        Name -> seconds of each call, in order: round i of one beside round i of the other.

    Raises:
        EvaluationError: No images, or a batch or rounds below 1.
    """
    if batch < 1 or rounds < 1 or not len(images):
        raise EvaluationError(
            f"nothing to time: {len(images)} drawings, {rounds} rounds of {batch}",
            hint="give a drawing, a batch and a round",
        )
    names = list(encoders)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        shown = images[
            np.arange((turn + warm_up) * batch, (turn + warm_up + 1) * batch) % len(images)
        ]
        first = turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            encoders[name].embed(shown)
            start = time.perf_counter()
            encoders[name].embed(shown)
            seconds = time.perf_counter() - start
            if turn >= 0:
                samples[name].append(seconds)
    return {name: tuple(values) for name, values in samples.items()}


def speed_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return how many times as fast the second is: the median of the ratios, round by round.

    Args:
        slow: Seconds of each round, from `compare_speed`.
        fast: Seconds of the same rounds.

    Raises:
        EvaluationError: Not the same number of rounds, or none.
    """
    if len(slow) != len(fast) or not len(slow):
        raise EvaluationError(
            f"{len(slow)} rounds against {len(fast)} say nothing",
            hint="measure both with one call of compare_speed",
        )
    return float(np.median(np.asarray(slow) / np.asarray(fast)))


def rounds_within(
    seconds: float, encoders: Mapping[str, Embeds], images: Images, *, batch: int = 1
) -> int:
    """Return how many rounds fit into `seconds`, by trying: 5 to 30, so that a slow device ends."""
    tried = compare_speed(encoders, images, batch=batch, rounds=2, warm_up=1)
    a_round = 2 * sum(min(values) for values in tried.values())
    return int(np.clip(seconds / max(a_round, 1e-9), LEAST_ROUNDS, ROUNDS))


def machine_is_busy() -> bool:
    """Say whether other programs keep the cores busy, where the system tells: no times to keep."""
    try:
        return os.getloadavg()[0] > BUSY * available_cores()
    except (AttributeError, OSError):
        return False
