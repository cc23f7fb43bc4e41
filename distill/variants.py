"""Changed drawings, and what a teacher says of each: more to learn from than there are drawings.

A teacher that stays frozen can be asked about anything: a drawing turned over, stretched, enlarged
beyond its frame, or laid over another. None of these is of a design any more, so no label is used
of them; but each is made of the strokes of real drawings, and what the teacher says of it is as
true as what it says of a drawing. Teacher and student see the same change.

Source:
    Beyer et al., Knowledge distillation: A good teacher is patient and consistent,
    arXiv:2106.05237: distillation as matching of functions, with strong changes and mixing.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from distill.augment import Squares, halved
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, load_drawings, normalised
from distill.drawing_cache import Stack
from distill.run_folder import keep_array
from distill.teacher import Teacher
from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing.fit import POWER
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent

BATCH = 64
SCALED_ON = 2000
"""Variants whose cells tell mean and deviation."""
_VERSION = 1
_MOST = 6e4  # of a number of a cell: float16 goes to 65,504
STRONG, LAID_OVER = 0.55, 0.18
"""Shares of the variants that are changed beyond recognition, and that are of two drawings."""


@dataclass(frozen=True)
class Variants:
    """Changed drawings and the teacher's embeddings of them.

    Attributes:
        masters: ``(V, M, M)`` uint8, as those of the drawings that they were made from.
        targets: ``(V, T)`` float32, rows of length 1.
        cells: ``(V, g * g, T)`` float16, what it says of every cell; None: it was not asked.
    """

    masters: Stack
    targets: Embeddings
    cells: NDArray[np.float16] | None = None

    def standard_cells(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return ``(v, g * g, T)``: cells of some variants, each number of mean 0, deviation 1."""
        assert self.cells is not None, "the teacher was asked"
        mean, deviation = self._scale
        standard: NDArray[np.float32] = (self.cells[rows].astype(np.float32) - mean) / deviation
        return standard

    @cached_property
    def _scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self.cells is not None, "asked for by standard_cells"
        some = self.cells[:SCALED_ON].astype(np.float32)
        return some.mean((0, 1)), some.std((0, 1)) + np.float32(1e-6)


def make_variants(
    teacher: Teacher,
    sources: Sequence[Path],
    drawings: Drawings,
    training: Sequence[Scheme],
    config: TrainConfig,
    *,
    cache: Path,
    track: Track = silent,
) -> Variants:
    """Make `config.variants` changed drawings, and ask the teacher about each.

    Every source gives as many, however many figures it has: real drawings are the fewest and teach
    most. Variant i depends on the seed, i and the figures alone.

    Args:
        teacher: Who is asked.
        sources: Those that `drawings` was loaded from: cut again at the teacher's own input size.
        drawings: What the student trains on.
        training: Its schemes that are trained on; no other figure is taken.
        config: How `drawings` was loaded.
        cache: A folder; variants are found there again as long as all the above are equal.
        track: Shows progress.

    Raises:
        ConfigError: The teacher is not a fitted one, gives numbers that are not finite, or the
            cache cannot be written.
    """
    if config.cells and teacher.embed_cells is None:
        raise ConfigError(
            f"cells = {config.cells}, but teacher {teacher.name} tells none",
            hint='fit one whose members pool "levels", or leave cells out',
        )
    if not teacher.knows_mirrored:  # what others say is centred on the drawings they are asked of
        raise ConfigError(
            f"variants = {config.variants}, but teacher {teacher.name} is not a fitted one",
            hint="fit one with edge-ret teacher, or leave variants out",
        )
    own = replace(config, size=teacher.preprocessing.size, channels=teacher.preprocessing.channels)
    seen = load_drawings(sources, own, cache=cache, track=track, labelled=False, keep=drawings.keep)
    assert seen.designs == drawings.designs, "the teacher's own embeddings were checked for that"
    side = drawings.masters.shape[1]
    key = hashlib.sha256()
    given = sorted(teacher.preprocessing.to_json().items())
    key.update(repr((_VERSION, teacher.fingerprint, given, config.variants, config.seed)).encode())
    key.update(seen.digest.encode())
    for scheme in training:
        key.update(scheme.rows.tobytes())
    name = f"variants-{key.hexdigest()[:24]}"
    files = [cache / f"{name}-{side}.npy", cache / f"{name}.npy"]
    if config.cells:
        files.append(cache / f"{name}-cells{config.cells}.npy")
    found = [_kept(file, config.variants) for file in files]
    if any(array is None for array in found):
        asked = any(array is None for array in found[1:])
        made = _made(teacher, seen, training, config, side, track, asked=asked)
        for file, array in zip(files, made, strict=False):
            keep_array(array, file)
        found = [_kept(file, config.variants) for file in files]
    masters, targets, *cells = found
    assert masters is not None and targets is not None, "both have just been written"
    return Variants(Stack([masters]), np.array(targets), cells[0] if cells else None)


def _kept(file: Path, count: int) -> NDArray[Any] | None:
    """Return a file of the cache, mapped; None if it is not there, or damaged."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        if len(array) == count:
            return array
    return None


def _made(
    teacher: Teacher,
    seen: Drawings,
    training: Sequence[Scheme],
    config: TrainConfig,
    side: int,
    track: Track,
    *,
    asked: bool,
) -> list[NDArray[Any]]:
    """Return the masters; if it is `asked`, what the teacher says of them and of their cells."""
    masters = np.empty((config.variants, side, side), np.uint8)
    rows, cells = [], []
    starts = range(0, config.variants, BATCH)

    def one(number: int) -> Squares:
        dice = np.random.default_rng([config.seed, 6, number])
        square = _variant(seen, training, number, dice)
        masters[number] = _reduced_to(square, side)
        return square

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # Pillow works outside Python's lock
        for start in track(starts, f"Variants for {teacher.name}", len(starts)):
            numbers = range(start, min(start + BATCH, config.variants))
            squares = np.stack(list(pool.map(one, numbers)))
            if not asked:
                continue
            images = normalised(squares, teacher.preprocessing)
            if config.cells:
                assert teacher.embed_cells is not None, "make_variants asked for that"
                whole, parts = teacher.embed_cells(images, config.cells)
                cells.append(parts.clip(-_MOST, _MOST).astype(np.float16))
            else:
                whole = teacher.embed(images)
            rows.append(whole)
    if not asked:
        return [masters]
    targets = np.concatenate(rows).astype(np.float32)
    if not np.isfinite(targets).all():
        raise ConfigError(
            f"teacher {teacher.name} gives numbers that are not finite", hint="take another teacher"
        )
    lengths = np.linalg.norm(targets, axis=1, keepdims=True)
    told: list[NDArray[Any]] = [masters, targets / np.maximum(lengths, 1e-12)]
    return [*told, np.concatenate(cells)] if cells else told


def _variant(seen: Drawings, training: Sequence[Scheme], number: int, dice: Generator) -> Squares:
    """Return ``(S, S)`` uint8 at the teacher's size: one figure changed, or two laid together."""
    size = seen.preprocessing.size

    def figure(scheme: Scheme, *, strongly: bool) -> Squares:
        master = seen.masters[[int(dice.choice(scheme.rows))]][0]
        return changed(master, size, dice, strongly=strongly)

    fine = figure(training[number % len(training)], strongly=dice.random() < STRONG)
    if dice.random() < LAID_OVER:
        other = training[int(dice.integers(len(training)))]
        fine = np.minimum(fine, figure(other, strongly=True))
    return halved(fine)


def changed(master: Squares, size: int, dice: Generator, *, strongly: bool) -> Squares:
    """Return ``(2 size, 2 size)`` samples of a master, moved, turned, stretched, scaled, mirrored.

    Args:
        master: ``(M, M)`` uint8, 0 ink.
        size: Of the variant that they are halved to.
        dice: Decides.
        strongly: Turned by right angles or any angle, stretched by up to a fifth each way, from 0.6
            to 1.7 times as large, and then partly outside; if not, little.
    """
    if strongly:
        right = dice.choice([0, 0, 0, 0, 90, 180, 270])
        turn = right if dice.random() < 0.75 else dice.uniform(0, 360)
        angle = math.radians(turn + dice.normal(0, 5))
        stretch = math.exp(dice.uniform(-0.35, 0.35))
        scale = math.exp(dice.uniform(math.log(0.6), math.log(1.7)))
    else:
        angle = math.radians(dice.normal(0, 2.5))
        stretch = math.exp(dice.uniform(-0.08, 0.08))
        scale = dice.uniform(0.88, 1)
    across, up = scale * math.sqrt(stretch), scale / math.sqrt(stretch)
    move_x, move_y = dice.uniform(-0.5, 0.5, 2) * abs(1 - scale)
    flip = -1 if dice.random() < 0.5 else 1
    fine = 2 * size
    ratio, middle = len(master) / fine, len(master) / 2
    # PIL wants the way back: where in the master each sample comes from.
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = flip * ratio * cos / across, flip * ratio * sin / across
    d, e = -ratio * sin / up, ratio * cos / up
    x, y = fine * (0.5 + move_x), fine * (0.5 + move_y)
    way = (a, b, middle - a * x - b * y, d, e, middle - d * x - e * y)
    samples = Image.fromarray(master).transform(
        (fine, fine), Image.Transform.AFFINE, way, fillcolor=255
    )
    return np.asarray(samples)


_CUBE = (np.linspace(1, 0, 256, dtype=np.float32) ** POWER).astype(np.float32)
"""Grey value -> ink to the power whose mean `drawing.fit` takes."""


def _reduced_to(square: Squares, side: int) -> Squares:
    """Return a square at another size by the power mean of its ink, as `drawing.fit` reduces."""
    mean = Image.fromarray(_CUBE[square]).resize((side, side), Image.Resampling.BOX)
    ink = np.asarray(mean).clip(0, 1) ** np.float32(1 / POWER)
    reduced: Squares = np.rint(255 * (1 - ink)).astype(np.uint8)
    return reduced
