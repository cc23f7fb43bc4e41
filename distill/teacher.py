"""A teacher's embeddings of every figure, computed once and cached.

A teacher sees each figure whole, at its own input size, as it is and mirrored; its embedding is the
mean of both. Left and right views of a design are mirror images of each other and should be found
by each other, and the student sees mirrored figures too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distill import ensemble
from distill.config import TrainConfig
from distill.data import Drawings, load_drawings
from distill.model import TorchEncoder, load_student, make_features, preprocessing_of
from distill.run_folder import keep_array
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import sha256_of

WHITENED_DIM = 256
"""Numbers kept of a bare backbone's features: as many as the drawings have directions."""

BATCH = 64
_VERSION = 1


Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Teacher:
    """Something that embeds figures.

    Attributes:
        name: For people.
        preprocessing: What it must be given.
        fingerprint: Equal only for equal weights.
        embed: ``(N, C, H, W)`` -> ``(N, F)``.
        is_trained: Whether its rows were trained to be compared; bare features are not, and are
            half whitened first.
        knows_mirrored: Whether mirrored drawings are alike to it already, and its rows centred.
        embed_cells: ``(N, C, H, W)`` and the side g of a grid -> ``(N, F)`` and
            ``(N, g * g, F)``: the drawings, and each cell; None: it cannot tell cells.
    """

    name: str
    preprocessing: Preprocessing
    fingerprint: str
    embed: Callable[[Images], NDArray[np.float32]]
    is_trained: bool
    knows_mirrored: bool = False
    embed_cells: Callable[[Images, int], tuple[Rows, Rows]] | None = None


def open_teacher(named: str) -> Teacher:
    """Open a bundle, a run folder, a fitted ensemble, a recipe (.toml) or a timm model.

    Raises:
        ConfigError, BundleError: It is none of them, or cannot be loaded.
    """
    path = Path(named)
    if (path / "bundle.json").is_file():
        bundle = Bundle.open(path)
        encoder = load_encoder(bundle)
        return Teacher(
            bundle.name, encoder.preprocessing, encoder.fingerprint, encoder.embed, is_trained=True
        )
    if (path / ensemble.ABOUT).is_file():
        network, fingerprint = ensemble.open_ensemble(path)
        given = Preprocessing(size=network.size, channels=network.channels)
        cells = network.embed_cells if network.tells_cells else None
        return Teacher(path.name, given, fingerprint, network.embed, True, True, cells)
    if (path / "config.toml").is_file():
        student, config = load_student(path)
        student.to(_device())
        own = TorchEncoder(student, preprocessing_of(config), batch=BATCH)
        return Teacher(path.name, own.preprocessing, own.fingerprint, own.embed, is_trained=True)
    if path.suffix == ".toml":
        config = TrainConfig.load(path)
        if config.weights not in ("none", "timm"):  # a file is named as seen from the recipe
            config = replace(config, weights=str(path.parent / config.weights))
        return _bare(config, path.stem)
    if path.exists() or os.sep in named:
        raise ConfigError(
            f"teacher {named!r} is no bundle, run folder, fitted teacher or recipe",
            hint="name a folder with bundle.json, config.toml or teacher.json, a .toml recipe, or a"
            " timm model",
        )
    return _bare(TrainConfig(backbone=named, weights="timm", channels=3, size=224), named)


def _bare(config: TrainConfig, name: str) -> Teacher:
    features = make_features(config).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = _device()
    features.to(device)

    def embed(images: Images) -> NDArray[np.float32]:
        with torch.inference_mode():
            part = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            rows: NDArray[np.float32] = features(part.to(device)).float().cpu().numpy()
            return rows

    weights = config.weights
    digest = hashlib.sha256(f"{config.backbone} {config.backbone_args} {config.pool}".encode())
    digest.update((sha256_of(Path(weights)) if Path(weights).is_file() else weights).encode())
    return Teacher(name, preprocessing_of(config), digest.hexdigest(), embed, is_trained=False)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def teacher_embeddings(
    teacher: Teacher,
    sources: Sequence[Path],
    drawings: Drawings,
    config: TrainConfig,
    *,
    cache: Path,
    track: Track = silent,
) -> Embeddings:
    """Return the teacher's embedding of every figure of `drawings`: ``(N, T)``, rows of length 1.

    Args:
        teacher: What to learn from.
        sources: Those that `drawings` was loaded from: cut again at the teacher's own input size.
        drawings: What the student trains on.
        config: How `drawings` was loaded.
        cache: A folder; embeddings are found there again as long as teacher and figures are equal.
        track: Shows progress.

    Raises:
        ConfigError: The drawings changed meanwhile, the teacher gives numbers that are not finite,
            or the cache cannot be written.
    """
    size, channels = teacher.preprocessing.size, teacher.preprocessing.channels
    own = replace(config, size=size, channels=channels)
    seen = load_drawings(sources, own, cache=cache, track=track, labelled=False, keep=drawings.keep)
    if seen.designs != drawings.designs:
        raise ConfigError(
            "the drawings changed while the teacher looked at them", hint="start the training again"
        )
    # Keyed by what the teacher sees: students of every size share one file.
    key = hashlib.sha256()
    said = (_VERSION, teacher.fingerprint, sorted(teacher.preprocessing.to_json().items()))
    key.update(repr(said).encode())
    key.update(seen.digest.encode())
    file = cache / f"teacher-{key.hexdigest()[:24]}.npy"
    if file.is_file():
        with contextlib.suppress(ValueError, EOFError):  # damaged: asked again
            stored: Embeddings = np.load(file, allow_pickle=False)
            if stored.shape[0] == len(seen):
                return stored
    plain, mirrored = _both(teacher, seen, track)
    if not (np.isfinite(plain).all() and np.isfinite(mirrored).all()):
        raise ConfigError(
            f"teacher {teacher.name} gives numbers that are not finite", hint="take another teacher"
        )
    if teacher.knows_mirrored:
        rows = plain
    else:
        rows = _combined(plain, mirrored, whiten=not teacher.is_trained)
    keep_array(rows, file)
    return rows


def _both(
    teacher: Teacher, drawings: Drawings, track: Track
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed every figure as it is and mirrored: ``(N, F)`` of each, rows of length 1."""
    parts: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    starts = range(0, len(drawings), BATCH)
    for start in track(starts, f"Teacher {teacher.name}", len(starts)):
        images = drawings.images(np.arange(start, min(start + BATCH, len(drawings))))
        if teacher.knows_mirrored:
            parts[0].append(_unit(teacher.embed(images)))
            continue
        for part, shown in zip(parts, (images, images[..., ::-1]), strict=True):
            part.append(_unit(teacher.embed(np.ascontiguousarray(shown))))
    plain = np.concatenate(parts[0])
    return plain, np.concatenate(parts[1]) if parts[1] else plain


def _combined(
    plain: NDArray[np.float32], mirrored: NDArray[np.float32], *, whiten: bool
) -> Embeddings:
    """Return the mean of both, centred; bare features are half whitened as well.

    What all drawings share tells nothing: features after a ReLU have a large mean, and so has an
    encoder that was trained little. Of bare features few directions hold most of the variance:
    dividing each principal direction by the root of its standard deviation (half of whitening) let
    more designs be found than none or all of it; see benchmarks/README.md.
    """
    rows = plain + mirrored  # (N, F)
    rows = rows - rows.mean(axis=0)
    if not whiten or not rows.any():  # all drawings are one: no direction tells them apart
        return _unit(rows)
    covariance = (rows.T @ rows).astype(np.float64) / len(rows)  # (F, F)
    variances, directions = np.linalg.eigh(covariance)
    kept = np.argsort(variances)[::-1][: min(WHITENED_DIM, len(rows) - 1, len(variances))]
    kept = kept[variances[kept] > 1e-9 * variances[kept[0]]]
    return _unit((rows @ (directions[:, kept] / variances[kept] ** 0.25)).astype(np.float32))


def _unit(rows: NDArray[np.float32]) -> Embeddings:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Embeddings = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
