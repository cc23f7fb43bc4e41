"""Figures to rows, a batch at a time; and whether this machine makes the rows it should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings, Pixels
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import FigureImage, fit_batch
from edge_retrieval.encoder.runtimes import Encoder
from edge_retrieval.errors import ConfigError


def embed_figures(
    encoder: Encoder, figures: Sequence[FigureImage | Pixels], *, batch: int = 16
) -> Embeddings:
    """Fit figures to the encoder's input and embed them.

    Args:
        encoder: From `load_encoder`.
        figures: N figures, or their grey pixels.
        batch: How many at a time; bounds memory, does not change the result.

    Returns:
        ``(N, D)`` float32, rows of length 1.
    """
    if batch < 1:
        raise ConfigError(f"a batch of {batch} figures", hint="give 1 or more")
    rows = np.empty((len(figures), encoder.dim), np.float32)
    for start in range(0, len(figures), batch):
        images = fit_batch(figures[start : start + batch], encoder.preprocessing)  # (B, C, H, W)
        rows[start : start + batch] = encoder.embed(images)
    return rows


def golden_cosines(bundle: Bundle, encoder: Encoder) -> NDArray[np.float32]:
    """Return ``(G,)`` cosines between the golden embeddings and those of this machine."""
    images, expected = bundle.golden()
    found = embed_figures(encoder, list(images))  # (G, D)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return np.asarray((found * expected).sum(axis=1) / np.maximum(lengths, 1e-12), np.float32)


def golden_check(bundle: Bundle, encoder: Encoder) -> float:
    """Return the least cosine between the golden embeddings and those of this machine.

    Below `bundle.golden_tolerance` this machine computes something else than the exporter did:
    the same INT8 file can be right on one processor and saturate on another.
    """
    return float(golden_cosines(bundle, encoder).min())
