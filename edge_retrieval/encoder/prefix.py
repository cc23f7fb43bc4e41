"""The first numbers of an embedding as an embedding: of encoders that were trained for it."""

from __future__ import annotations

import numpy as np

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder.runtimes import Encoder


def cut_rows(embeddings: Embeddings, dim: int) -> Embeddings:
    """Return the first numbers of each row, made of length 1 again.

    Args:
        embeddings: ``(N, D)`` float32, rows of length 1.
        dim: At most D; D itself leaves the rows as they are.

    Returns:
        ``(N, dim)`` float32.
    """
    if dim == embeddings.shape[1]:
        return embeddings
    rows = np.ascontiguousarray(embeddings[:, :dim])  # (N, dim)
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))  # (N, 1)
    return np.asarray(rows / np.maximum(lengths, np.float32(1e-12)), np.float32)


class PrefixEncoder:
    """An encoder of which only the first numbers are used.

    Args:
        encoder: Of the whole bundle.
        bundle: A cut of it, by `Bundle.cut`.
    """

    def __init__(self, encoder: Encoder, bundle: Bundle) -> None:
        self._encoder = encoder
        self.dim = bundle.dim
        self.preprocessing = encoder.preprocessing
        self.fingerprint = bundle.fingerprint
        self.backend = encoder.backend

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, dim)`` rows of length 1; N may be 0."""
        return cut_rows(self._encoder.embed(images), self.dim)
