"""Embedding the designs of a register anew, with another encoder, from the pictures that it keeps.

A register keeps of each figure a picture of at most `PICTURE_SIDE` pixels in 16 greys, and not its
sheet. An encoder sees nearly the same in it as in the sheet, but not bit for bit, so a register
that was made so says of itself what it was made from: `made_from` in register.json.

    how       "kept pictures"
    side      longest side of such a picture, in pixels
    register  name, snapshot, designs, figures of the register that they are of
    bundle    name, fingerprint, dim of what had made its vectors
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import from_png
from edge_retrieval.drawing.ready import PICTURE_SIDE
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.errors import RegisterError
from edge_retrieval.progress import Track
from edge_retrieval.register.copying import Copier, DesignReader, WholeDesign
from edge_retrieval.register.database import Database
from edge_retrieval.register.folder import Register
from edge_retrieval.register.records import AddResult
from edge_retrieval.register.writing import Store, put_problem

TOGETHER = 256
"""So many figures are committed together: a kill costs no more than to embed them."""


def origin_of(register: Register) -> dict[str, Any]:
    """Return what a register that is made from the pictures of this one says of itself."""
    bundle = register.bundle
    return {
        "how": "kept pictures",
        "side": PICTURE_SIDE,
        "register": {
            "name": register.name,
            "snapshot": register.snapshot,
            "designs": register.designs_count,
            "figures": register.figures_count,
        },
        "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint, "dim": bundle.dim},
    }


def renew(
    database: Database,
    store: Store,
    other: DesignReader,
    encoder: Encoder,
    batch: int,
    track: Track,
) -> AddResult:
    """Write the designs of another register by class, with vectors made of their pictures.

    Args:
        database: Of the writer; what it holds are the first of these designs, or none.
        store: The files that its rows go to.
        other: Of the other register.
        encoder: What embeds.
        batch: Figures that are embedded together.
        track: Shows progress.

    Raises:
        RegisterError: Something of the other is damaged, or a vector is not of length 1; what came
            before it is kept.
        DrawingError: A picture is none.
    """
    result = AddResult()
    copier = Copier(database, store)
    keys = other.keys(by_class=True)
    done = database.count("SELECT count(*) FROM designs")
    database.begin()
    for problem in other.problems():
        put_problem(database, problem)
    wholes = (other.read(key) for key in track(keys[done:], "Embedding", len(keys) - done))
    for group in _groups(wholes):
        vectors = iter(_vectors(group, encoder, batch, database))
        for whole in group:
            figures = tuple(figure._replace(vector=next(vectors)) for figure in whole.figures)
            copier.put(replace(whole, figures=figures))
            result.figures_added += len(figures)
        result.designs_added += len(group)
        copier.flush()
        database.commit()
        database.begin()
    database.commit()
    return result


def _groups(wholes: Iterable[WholeDesign]) -> Iterator[list[WholeDesign]]:
    group: list[WholeDesign] = []
    for whole in wholes:
        group.append(whole)
        if sum(len(one.figures) for one in group) >= TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _vectors(
    group: list[WholeDesign], encoder: Encoder, batch: int, database: Database
) -> Embeddings:
    places = [(whole, at) for whole in group for at in range(len(whole.figures))]
    pictures = [from_png(whole.figures[at].png) for whole, at in places]
    vectors = embed_figures(encoder, pictures, batch=batch)
    good = np.isclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)  # NaN is not close
    if not good.all():
        whole, at = places[int(np.argmin(good))]
        raise RegisterError(
            f"{database.path.parent}: the vector of figure {at + 1} of {whole.design.number} is not"
            " of length 1",
            hint="check the bundle on this device: edge-ret doctor BUNDLE",
        )
    return vectors
