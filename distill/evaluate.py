"""How well a run retrieves on a source that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from distill.augment import Squares
from distill.leaks import Leak, Signatures, find_leaks, load_seen, said_of, signatures
from distill.model import TorchEncoder, load_student, preprocessing_of
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.errors import EvaluationError
from edge_retrieval.evaluate import Evaluation, embed_source, evaluate_embedded
from edge_retrieval.progress import Track, silent
from edge_retrieval.split import Keep

SEEN = "seen.npz"
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class RunEvaluation:
    """What a run scores.

    Attributes:
        scores: Of its network on the source.
        fingerprint: Of its network.
        leaks: Designs of the source that it was trained on, the surest first.
    """

    scores: Evaluation
    fingerprint: str
    leaks: tuple[Leak, ...]


def evaluate_run(
    run: Path,
    source: Path,
    *,
    checkpoint: str = "best",
    allow_leak: bool = False,
    keep: Keep | None = None,
    track: Track = silent,
) -> RunEvaluation:
    """Cut and embed a source with a run's network, and let every figure search the others.

    Args:
        run: What `train` wrote.
        source: What `open_source` reads.
        checkpoint: One of `CHECKPOINTS`.
        allow_leak: Measure even on designs that were trained on.
        keep: Tells the designs to measure on by their numbers; None: all.
        track: Shows progress.

    Raises:
        ConfigError: Not a run folder, no such checkpoint, or nothing that tells what was seen.
        EvaluationError: The source holds designs, or near-duplicates of their figures, that were
            trained on; or fewer than two figures.
        SourceError: The source cannot be read at all.
    """
    student, config = load_student(run, checkpoint=checkpoint)
    student.to("cuda" if torch.cuda.is_available() else "cpu")
    seen, seen_designs = load_seen(run / SEEN)
    encoder = _Watching(TorchEncoder(student, preprocessing_of(config)))
    embedded = embed_source(source, encoder, keep=keep, track=track)
    leaks = find_leaks(seen, seen_designs, encoder.signatures(), embedded.designs)
    if leaks and not allow_leak:
        raise EvaluationError(
            said_of(leaks),
            hint="measure on other designs; or, if only the numbers are alike, with --allow-leak",
        )
    return RunEvaluation(evaluate_embedded(embedded), encoder.fingerprint, tuple(leaks))


class _Watching:
    """An encoder that keeps the signatures of what it embeds."""

    def __init__(self, encoder: TorchEncoder) -> None:
        self._encoder = encoder
        self._seen: list[Signatures] = []
        self.dim = encoder.dim
        self.preprocessing = encoder.preprocessing
        self.fingerprint = encoder.fingerprint
        self.backend = encoder.backend

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        grey = images[:, 0] * self.preprocessing.std + self.preprocessing.mean  # (N, H, W)
        squares: Squares = np.rint(grey * 255).astype(np.uint8)
        self._seen.append(signatures(squares))
        return self._encoder.embed(images)

    def signatures(self) -> Signatures:
        """Return ``(N, K)`` of all that was embedded so far."""
        return np.concatenate([signatures(np.empty((0, 8, 8), np.uint8)), *self._seen])
