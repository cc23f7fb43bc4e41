"""What benchmarks/compatible.py embeds: figures of sheets, and of the pictures that are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from encoders import Contestant, imagenet_ones, of_bundle, teacher
from figures import Figures, read_figures, unit
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings, Pixels
from edge_retrieval.drawing import (
    CUT_VERSION,
    FIT_VERSION,
    Preprocessing,
    fit,
    from_png,
    to_png,
)
from edge_retrieval.drawing.ready import PICTURE_SIDE
from edge_retrieval.errors import ConfigError
from edge_retrieval.taxonomy import LabelPath

BATCH = 16
IMAGENET = {"mobilenetv2": 0, "mobilenetv1-0.75": 2, "mobilenetv1-0.5": 3}
"""Bare features -> their place in what `encoders.imagenet_ones` gives."""
TIMED = 64
"""Pictures that are kept to take times with."""


@dataclass(frozen=True)
class Drawn:
    """Figures of a source as encoders see them.

    Attributes:
        sheets: As cut from their sheets.
        kept: As the small pictures give them that a register keeps; empty if not asked for.
        pictures: The first of these, as PNG.
    """

    sheets: Figures
    kept: Figures
    pictures: tuple[bytes, ...] = ()

    def only(self, chosen: NDArray[np.bool_]) -> Drawn:
        """Return some of them."""
        return Drawn(self.sheets.only(chosen), self.kept.only(chosen), self.pictures)


def read(source: Path, sizes: Sequence[int], work: Path, *, kept: bool) -> Drawn:
    """Cut a source; keep its figures as squares of some sizes in `work`, for the next time.

    Args:
        source: What `open_source` reads.
        sizes: Sides of the squares.
        work: A folder.
        kept: Whether their small pictures are wanted too.
    """
    about = hashlib.sha256(f"{CUT_VERSION} {FIT_VERSION} {sizes} {kept}".encode())
    about.update((source / "metadata.csv").read_bytes())
    file = work / f"figures-{source.name}-{about.hexdigest()[:16]}.npz"
    if not file.is_file():
        _write(file, *read_figures(source), sizes=sizes, kept=kept)
    with np.load(file) as stored:
        names, paths = stored["designs"].tolist(), json.loads(str(stored["labels"]))
        said = tuple(text.replace(str(source), source.name) for text in stored["skipped"].tolist())
        sheets, small = (
            {size: stored[f"{kind}-{size}"] for size in sizes} for kind in ("sheets", "kept")
        )
        pictures = tuple(stored[f"png-{at}"].tobytes() for at in range(int(stored["pictures"])))
    labels = tuple(tuple(path) for path in paths)
    return Drawn(
        Figures(tuple(names), labels, sheets, said), Figures(tuple(names), labels, small), pictures
    )


def _write(
    file: Path,
    masters: Sequence[Pixels],
    paths: Sequence[LabelPath],
    skipped: Sequence[str],
    *,
    sizes: Sequence[int],
    kept: bool,
) -> None:
    pngs = [to_png(master, side=PICTURE_SIDE) for master in masters] if kept else []
    pictures = [from_png(png) for png in pngs]
    arrays = {
        f"{kind}-{size}": _squares(figures, size)
        for kind, figures in (("sheets", masters), ("kept", pictures))
        for size in sizes
    }
    arrays |= {f"png-{at}": np.frombuffer(png, np.uint8) for at, png in enumerate(pngs[:TIMED])}
    np.savez(
        file,
        designs=np.array([path[-1] for path in paths]),
        labels=json.dumps([path[:-1] for path in paths]),
        skipped=np.array(skipped, dtype="U"),
        pictures=min(len(pngs), TIMED),
        **arrays,  # type: ignore[arg-type]
    )


def _squares(figures: Sequence[Pixels], size: int) -> NDArray[np.uint8]:
    squares = np.empty((len(figures), size, size), np.uint8)
    for row, pixels in enumerate(figures):
        grey = fit(pixels, Preprocessing(size=size, mean=0.0, std=1.0))[0]  # (S, S)
        squares[row] = np.rint(grey * 255).astype(np.uint8)
    return squares


def opened(named: str, weights: Path | None, work: Path) -> Contestant:
    """Open a bundle, a run, a fitted teacher, or bare features: "imagenet:mobilenetv2"."""
    if named.startswith("imagenet:"):
        name = named.partition(":")[2]
        if weights is None or name not in IMAGENET:
            raise ConfigError(
                f"{named}: no weights", hint=f"--weights; one of {', '.join(IMAGENET)}"
            )
        return imagenet_ones(weights, work)[IMAGENET[name]]
    if (Path(named) / "bundle.json").is_file():
        return of_bundle(Path(named))
    return teacher(Path(named), work)


def embedded(one: Contestant, figures: Figures, work: Path) -> Embeddings:
    """Return ``(N, F)`` rows of length 1; they are kept in `work`, by encoder and drawings."""
    squares = figures.squares[one.preprocessing.size]
    key = hashlib.sha256(f"{one.name} {one.preprocessing} {one.bytes}".encode())
    key.update(np.ascontiguousarray(squares).data)
    file = work / f"rows-{key.hexdigest()[:24]}.npy"
    if file.is_file():
        stored: Embeddings = np.load(file)
        return stored
    starts = range(0, len(figures), BATCH)
    rows = [
        one.embed(figures.images(one.preprocessing, slice(at, min(at + BATCH, len(figures)))))
        for at in starts
    ]
    found = unit(np.concatenate(rows))
    np.save(file, found)
    return found
