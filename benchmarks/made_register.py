"""A register of any size for measurements: made vectors, one small picture, no sheet is cut.

    python benchmarks/made_register.py FOLDER --figures 100000

The vectors are those of `made_vectors.py`: as unequal in their directions, means and neighbours as
those of the bundle `small` on real patents. `clustered` makes others, around given ones.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np
from made_vectors import VIEWS, MadeVectors
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing import to_png
from edge_retrieval.encoder import load_encoder
from edge_retrieval.preparing import prepare
from edge_retrieval.register import Register
from edge_retrieval.register.working import writing_in
from edge_retrieval.register.writing import NewFigure, put_design, put_figures, put_sheet
from edge_retrieval.sample import sample_folder
from edge_retrieval.sources import Box, Design, open_source

BATCH = 64
COMMIT = 100  # batches


def clustered(
    count: int, dim: int, *, seed: int = 0, centres: Embeddings | None = None
) -> Embeddings:
    """Return made embeddings: clusters, designs within them, eight near views of each.

    Args:
        count: N.
        dim: D.
        seed: Of everything.
        centres: ``(C, D)``: where the clusters are, an encoder's own embeddings, say, so that what
            is made lies where that encoder puts drawings. None: 300 random ones.

    Returns:
        ``(N, D)`` float32, rows of length 1; rows of a design stand together.
    """
    rng = np.random.default_rng(seed)
    if centres is None:
        centres = rng.standard_normal((300, dim), np.float32)
        spread = np.ones(dim, np.float32)
    else:  # noise as wide in each direction as the centres are
        axes, widths, turn = np.linalg.svd(centres - centres.mean(0), full_matrices=False)
        spread = (widths[:, None] * turn / len(axes) ** 0.5).astype(np.float32)  # (D, D)
    designs = -(-count // VIEWS)
    rows = centres[rng.integers(len(centres), size=designs)]  # (designs, D)
    rows = rows + 0.7 * noise(rng, rows, spread)
    views = np.repeat(rows, VIEWS, axis=0)[:count]  # (N, D)
    views += 0.25 * noise(rng, views, spread)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    return views


def noise(rng: np.random.Generator, like: Embeddings, spread: NDArray[np.float32]) -> Embeddings:
    """Return ``(n, D)`` normal noise: scaled by ``(D,)``, or turned by ``(r, D)``."""
    if spread.ndim == 1:
        return rng.standard_normal(like.shape, np.float32) * spread
    out: Embeddings = rng.standard_normal((len(like), len(spread)), np.float32) @ spread
    return out


def make_register(folder: Path, vectors: Embeddings, bundle: Bundle) -> None:
    """Write a register whose figures have these vectors, eight to a design, in 150 subclasses."""
    image = Image.new("L", (200, 160), 255)
    ImageDraw.Draw(image).ellipse((20, 20, 180, 140), outline=0, width=3)
    png = to_png(np.asarray(image))
    register = Register.create(folder, bundle)
    with writing_in(folder, bundle.dim) as (database, store):
        database.begin()
        pending: list[NewFigure] = []
        done = batches = 0
        for row in range(len(vectors)):
            place, view = divmod(row, VIEWS)
            if view == 0:
                klass = f"{1 + place % 30:02d}"
                design = Design(
                    number=f"USD{place:07d}",
                    labels=(klass, f"{klass}-{1 + place // 30 % 5:02d}"),
                    sheets=(),
                    where=f"made/{place}",
                    title=f"Made design {place}",
                    published=f"{2000 + place % 24}-0{1 + place % 9}-15",
                    applicants=(f"Applicant {place % 977}",),
                )
                key = put_design(database, design, source="made")
            sha256 = hashlib.sha256(str(row).encode()).hexdigest()
            sheet = put_sheet(database, key, f"{row}.png", sha256)
            pending.append(NewFigure(key, sheet, view + 1, Box(0, 0, 200, 160), 0, "", png))
            if len(pending) == BATCH or row == len(vectors) - 1:
                put_figures(database, store, pending, vectors[done : done + len(pending)])
                done += len(pending)
                pending = []
                batches += 1
                if batches % COMMIT == 0:
                    database.commit()
                    database.begin()
        database.commit()
    register.refresh()
    prepare(register)
    register.close()


def seen_by(bundle: Bundle) -> Embeddings:
    """Return what an encoder makes of the sample's figures, ``(360, D)``."""
    with tempfile.TemporaryDirectory() as folder:
        register = Register.create(Path(folder) / "sample", bundle)
        register.add(open_source(sample_folder(), kind="table"), load_encoder(bundle))
        vectors = np.array(register.vectors)
        register.close()
    return vectors


def main() -> None:
    """Make one on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=int, default=100_000)
    parser.add_argument("--bundle", type=Path, default=None)
    args = parser.parse_args()
    bundle = Bundle.open(args.bundle or default_bundle_path())
    vectors = np.concatenate(list(MadeVectors(args.figures, dim=bundle.dim).rows()))
    make_register(args.folder, vectors, bundle)


if __name__ == "__main__":
    main()
