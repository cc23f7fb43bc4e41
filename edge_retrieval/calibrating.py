"""Measuring what an encoder's scores mean, on designs that it was not trained on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle, save_calibration
from edge_retrieval.calibration import Calibration, Measured
from edge_retrieval.encoder import Encoder, load_encoder
from edge_retrieval.errors import BundleError
from edge_retrieval.evaluate import Embedded, embed_source
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import now, versions
from edge_retrieval.sources import Problem
from edge_retrieval.sources.design import in_unicode
from edge_retrieval.split import Keep
from edge_retrieval.unrelated import UNRELATED, tables_of

ENOUGH = 500
"""Designs below which a person is told that they are few."""

MOST = 4_000
"""Designs of a source that are compared, evenly spread: pairs grow with the square, and so many
have ten million and more."""


@dataclass(frozen=True)
class Calibrated:
    """What a measurement gave.

    Attributes:
        calibration: What is kept.
        problems: What could not be read.
    """

    calibration: Calibration
    problems: tuple[Problem, ...]


def calibrate_bundle(
    folder: Path,
    sources: Sequence[Path],
    *,
    keep: Keep | None = None,
    backend: str | None = None,
    threads: int | None = None,
    track: Track = silent,
) -> Calibrated:
    """Measure what a bundle's scores mean, and write it into the bundle.

    Raises: as `calibrate` and `save_calibration`.
    """
    bundle = Bundle.open(folder)
    try:  # now: not after minutes of work
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="copy the bundle to a folder that you may write to, and measure that",
        ) from error
    found = calibrate(bundle, sources, keep=keep, backend=backend, threads=threads, track=track)
    save_calibration(folder, found.calibration)
    return found


def calibrate(
    bundle: Bundle,
    sources: Sequence[Path],
    *,
    keep: Keep | None = None,
    backend: str | None = None,
    threads: int | None = None,
    track: Track = silent,
) -> Calibrated:
    """Measure what a bundle's scores mean, for all numbers of dimensions that it can be used with.

    Args:
        bundle: What embeds.
        sources: Designs that the encoder was not trained on: those it was trained on it keeps apart
            better than others.
        keep: Tells the wanted designs by their numbers; None: all.
        backend: As for `load_encoder`.
        threads: As for `load_encoder`.
        track: Shows progress.

    Raises:
        EvaluationError: Too few designs, or of one class only.
        SourceError: A source cannot be read at all.
        BundleError: The encoder cannot be run here.
    """
    bundle = bundle.whole
    encoder = load_encoder(bundle, backend=backend, threads=threads)
    found: list[Embedded] = []
    measured: list[Measured] = []
    for source in sources:
        hashing = _Hashing(encoder)
        embedded = at_most(MOST, embed_source(source, hashing, keep=keep, track=track))
        found.append(embedded)
        if len(embedded.designs):
            measured.append(_measured(source, embedded, hashing.sha256()))
    calibration = Calibration(
        fingerprint=bundle.fingerprint,
        unrelated=UNRELATED,
        sources=tuple(measured),
        tables=tuple(tables_of(found, (*bundle.prefixes, bundle.dim))),
        created=now(),
        versions=versions(),
    )
    return Calibrated(calibration, tuple(p for one in found for p in one.problems))


def _measured(source: Path, embedded: Embedded, sha256: str) -> Measured:
    designs = len(set(embedded.designs))
    name = in_unicode(source.resolve().name)
    return Measured(name, sha256, designs, len(embedded.designs))


def at_most(count: int, embedded: Embedded) -> Embedded:
    """Return so many designs of a source, evenly spread over their numbers; or all there are."""
    numbers = sorted(set(embedded.designs))
    if len(numbers) <= count:
        return embedded
    wanted = {numbers[len(numbers) * place // count] for place in range(count)}
    rows = [row for row, number in enumerate(embedded.designs) if number in wanted]
    return replace(
        embedded,
        embeddings=embedded.embeddings[rows],
        labels=tuple(embedded.labels[row] for row in rows),
        designs=tuple(embedded.designs[row] for row in rows),
        applicants=tuple(embedded.applicants[row] for row in rows),
    )


class _Hashing:
    """An encoder that hashes the drawings that it is given: what was measured on can be told."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._hash = hashlib.sha256()
        self.dim = encoder.dim
        self.preprocessing = encoder.preprocessing
        self.fingerprint = encoder.fingerprint
        self.backend = encoder.backend

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        self._hash.update(np.ascontiguousarray(images).tobytes())
        return self._encoder.embed(images)

    def sha256(self) -> str:
        """Return the SHA-256 of all drawings so far, as they came to the encoder."""
        return self._hash.hexdigest()
