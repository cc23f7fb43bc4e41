"""The kinds of array that pass between modules: name, shape, dtype, unit. A newcomer starts here.

N figures, Q queries, K results, L taxonomy levels, D embedding dimensions, C channels,
H x W pixels.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.float32]
"""(N, C, H, W) float32, ready for an encoder: white paper and black ink after normalisation."""

Embeddings: TypeAlias = NDArray[np.float32]
"""(N, D) float32, rows of length 1."""

Codes: TypeAlias = NDArray[np.int32]
"""(N, L) int32, coarse to fine; a code stands for a label prefix."""

Rows: TypeAlias = NDArray[np.int64]
"""(Q, K) int64 row numbers of an index, best first."""

Scores: TypeAlias = NDArray[np.float32]
"""(Q, K) float32 cosine similarities in [-1, 1], best first."""

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W) uint8 grey values: 0 ink, 255 paper."""
