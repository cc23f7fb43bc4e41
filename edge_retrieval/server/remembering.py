"""An encoder that remembers: a figure is embedded once, however often it is searched with.

Mirror images of a query's views are embedded with every search; with other filters they are the
same as before.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.encoder import Encoder

ROOM = 4_096
"""Embeddings that are kept: 2 MB of 128 numbers each."""


class Memory:
    """What was embedded, by the encoder and the pixels; for all threads together.

    Args:
        room: How many embeddings are kept; the one that was not used longest goes.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: OrderedDict[bytes, Embeddings] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Embeddings | None:
        """Return ``(D,)``; None: it is not here."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, embedding: Embeddings) -> None:
        """Keep ``(D,)``."""
        with self._lock:
            self._kept[key] = embedding
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)


class RememberingEncoder:
    """An encoder with a memory before it; as row i depends on drawing i alone, nothing changes.

    Args:
        encoder: What embeds.
        memory: Shared with other threads.
    """

    def __init__(self, encoder: Encoder, memory: Memory) -> None:
        self._encoder = encoder
        self._memory = memory
        self.dim = encoder.dim
        self.preprocessing = encoder.preprocessing
        self.fingerprint = encoder.fingerprint
        self.backend = encoder.backend

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1."""
        keys = [self._key(image) for image in images]
        rows = [self._memory.get(key) for key in keys]
        new = [place for place, row in enumerate(rows) if row is None]
        if new:
            for place, row in zip(new, self._encoder.embed(images[new]), strict=True):
                rows[place] = row
                self._memory.put(keys[place], row.copy())  # a view would keep the batch alive
        found = np.empty((len(images), self.dim), np.float32)
        for place, one in enumerate(rows):
            found[place] = one
        return found

    def _key(self, image: Images) -> bytes:
        digest = hashlib.blake2b(self.fingerprint.encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image).data)
        return digest.digest()
