"""golden.npz: drawings with known answers, which tell whether a machine computes as it should.

images       (G, H, W) uint8 drawings
embeddings   (G, D) float32: what the FP32 network in torch made of them
fit_images   (K, H, W) uint8 drawings that `fit` must scale down; not in bundles of schema 1
fit_squares  (K, S, S) uint8: what `fit` made of them where the bundle was made
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.errors import BundleError

FITTED = 4
"""Golden drawings whose scaling is kept too."""

ENLARGED = 2
"""They are at least this many times as large as the encoder's input: `fit` has to reduce them."""

_COPY_AGAIN = "copy the bundle again, or make it anew: edge-ret export"


class Golden(NamedTuple):
    """Drawings with known embeddings.

    Attributes:
        images: ``(G, H, W)`` uint8 figures, 0 ink, 255 paper; `fit` makes the input of them.
        embeddings: ``(G, D)`` float32 of the FP32 network in torch, rows of length 1.
    """

    images: NDArray[np.uint8]
    embeddings: Embeddings


class Fitted(NamedTuple):
    """Drawings with known scaling.

    Attributes:
        images: ``(K, H, W)`` uint8 figures, 0 ink, 255 paper.
        squares: ``(K, S, S)`` uint8: the encoder's input of each, before normalisation.
    """

    images: NDArray[np.uint8]
    squares: NDArray[np.uint8]


def squares_of(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return ``(K, S, S)`` uint8: what `fit` makes of figures, before it normalises."""
    plain = replace(preprocessing, channels=1, mean=0.0, std=1.0)
    fitted = fit_batch(list(images), plain)  # (K, 1, S, S), grey / 255
    return np.rint(fitted[:, 0] * 255).astype(np.uint8)


def pack(golden: Golden, preprocessing: Preprocessing) -> bytes:
    """Return the content of golden.npz, the drawings to scale made of the first golden ones."""
    long = max(golden.images.shape[1:])
    times = max(1, math.ceil(ENLARGED * preprocessing.size / long))
    large = golden.images[:FITTED].repeat(times, axis=1).repeat(times, axis=2)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=golden.images,
        embeddings=golden.embeddings,
        fit_images=large,
        fit_squares=squares_of(large, preprocessing),
    )
    return buffer.getvalue()


def read_golden(path: Path, dim: int) -> Golden:
    """Read the drawings and embeddings of golden.npz; `BundleError` if they make no sense."""
    arrays = _load(path)
    if missing := {"images", "embeddings"} - arrays.keys():
        raise BundleError(f"{path}: holds no {min(missing)!r}", hint=_COPY_AGAIN)
    golden = Golden(arrays["images"], arrays["embeddings"])
    check_golden(golden, dim, where=path)
    return golden


def read_fitted(path: Path, size: int) -> Fitted | None:
    """Read the drawings with known scaling; None if the bundle was made before they were kept."""
    arrays = _load(path)
    if not {"fit_images", "fit_squares"} <= arrays.keys():
        return None
    fitted = Fitted(arrays["fit_images"], arrays["fit_squares"])
    right = (
        fitted.images.dtype == fitted.squares.dtype == np.uint8
        and fitted.images.ndim == 3
        and fitted.images.size > 0
        and fitted.squares.shape == (len(fitted.images), size, size)
    )
    if not right:
        raise BundleError(
            f"{path}: drawings to scale must be (K, H, W) uint8 with (K, {size}, {size}) uint8, not"
            f" {fitted.images.shape} {fitted.images.dtype},"
            f" {fitted.squares.shape} {fitted.squares.dtype}",
            hint=_COPY_AGAIN,
        )
    return fitted


def check_golden(golden: Golden, dim: int, *, where: Path) -> None:
    """Raise `BundleError` unless drawings and embeddings fit each other and `dim`."""
    images, embeddings = golden
    right = (
        images.dtype == np.uint8
        and images.ndim == 3
        and images.size > 0
        and embeddings.dtype == np.float32
        and embeddings.shape == (len(images), dim)
        and _have_length_one(embeddings)
    )
    if not right:
        raise BundleError(
            f"{where}: golden drawings must be (G, H, W) uint8 with (G, {dim}) float32 rows of "
            f"length 1, not {images.shape} {images.dtype}, {embeddings.shape} {embeddings.dtype}",
            hint=_COPY_AGAIN,
        )


def _have_length_one(embeddings: Embeddings) -> bool:
    with np.errstate(all="ignore"):  # of crafted numbers the squares are beyond all bounds
        return bool(np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-3))


def _load(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        # Opened here: numpy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # What is no array, numpy hands out as bytes.
            return {name: found for name, found in arrays.items() if isinstance(found, np.ndarray)}
    except Exception as error:  # a crafted archive makes numpy and zipfile raise what they like
        raise BundleError(f"{path}: cannot be read: {error}", hint=_COPY_AGAIN) from error
