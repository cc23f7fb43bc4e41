"""Do several views of a product find it better than one, how are they put together best, and at
what cost? And what is the vote on its class worth?

    python benchmarks/views.py path/to/uspto-multiview --distractors path/to/uspto-2007

Of each patent of the test part of models/splits/uspto-multiview.toml with four figures or more,
half of the figures, drawn at random `SPLITS` times, search for the other half among all other
patents; one design is right, so its average precision is 1 / its rank. Each way to put the views
together ranks the same designs by the same cosines; `ours` is asked of the code that ships.
Intervals: 95 % of resamples of patents. Cost: processor seconds of finding ten designs among made
vectors, on one thread, all numbers of views in turn; each view is of another design, which is
harder than views of one. The vote: each patent with all its figures, of
the designs of the 103 others; right, if the class of the patent is the one told.
Writes benchmarks/results/views.json; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ranking import Resampling

from edge_retrieval.bench.growth import make_vectors, open_index
from edge_retrieval.bench.made import VIEWS as A_DESIGN
from edge_retrieval.bench.made import MadeVectors
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.encoder import load_encoder
from edge_retrieval.evaluate import Embedded, embed_source
from edge_retrieval.index import ArrayVectors, FlatIndex
from edge_retrieval.index.views import nearest_groups
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.register import DesignRecord
from edge_retrieval.report import save_json
from edge_retrieval.split import read_split
from edge_retrieval.voting import VOTERS, vote

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "models" / "splits" / "uspto-multiview.toml"
SPLITS, LEAST = 10, 4
OURS = "ours: mean of best pair and average"
COSTS, NUMBERS, ROUNDS = (100_000, 1_000_000), (1, 3, 7), 20

Cosines = NDArray[np.float64]
"""(F, D): the best cosine of each view to any figure of each design."""

WAYS: dict[str, Callable[[Cosines], Cosines]] = {
    "best pair": lambda best: best.max(0),
    "average over the views": lambda best: best.mean(0),
    OURS: lambda best: (best.max(0) + best.mean(0)) / 2,
    "better half of the views": lambda best: np.sort(best, 0)[::-1][: -(-len(best) // 2)].mean(0),
}
"""How the views are put together: from cosines to scores (D,)."""


def main() -> None:
    """Embed, search, time, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("--distractors", type=Path)
    args = parser.parse_args()
    bundle = Bundle.open(default_bundle_path())
    encoder = load_encoder(bundle)
    patents = embed_source(args.source, encoder)
    others = embed_source(args.distractors, encoder) if args.distractors else None
    test = read_split(SPLIT).parts["test"]
    galleries = {"104 patents": None} | ({"with uspto-2007": others} if others else {})
    save_json(
        ROOT / "benchmarks" / "results" / "views.json",
        {
            "question": "several views or one: reciprocal rank of the own design",
            "splits": SPLITS,
            "galleries": {
                name: found(patents, more, set(test)) for name, more in galleries.items()
            },
            "votes": votes(patents, set(test)),
            "cost": cost(bundle.dim),
            "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint},
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


def found(patents: Embedded, more: Embedded | None, test: set[str]) -> dict[str, Any]:
    """Search with half of each patent's figures; all values, and means with intervals."""
    vectors = np.concatenate([patents.embeddings, *([more.embeddings] if more else [])])
    names, design = np.unique(
        np.array([*patents.designs, *(more.designs if more else ())]), return_inverse=True
    )
    values: dict[str, list[float]] = {}
    asked: list[int] = []
    rng = np.random.default_rng(0)
    for _ in range(SPLITS):
        for own in [place for place, name in enumerate(names) if name in test]:
            figures = np.flatnonzero(design == own)
            if len(figures) < LEAST:
                continue
            query = np.sort(rng.permutation(figures)[: len(figures) // 2])
            asked.append(own)
            for way, value in _values(vectors, design, query, own).items():
                values.setdefault(way, []).append(value)
    patent = np.unique(asked, return_inverse=True)[1]
    resampling = Resampling.of(patent)
    told = {way: np.array(own) for way, own in values.items()}
    rows = []
    for way, own in told.items():
        mean = resampling.interval(own)
        ratio = resampling.means(own) / resampling.means(told["one view"])
        assert mean is not None
        rows.append(
            {
                "way": way,
                "map": list(mean),
                "ratio": [
                    float(own.mean() / told["one view"].mean()),
                    *np.percentile(ratio, [2.5, 97.5]).tolist(),
                ],
                "values": own.round(4).tolist(),
            }
        )
    return {"designs": len(names), "figures": len(vectors), "asked": len(set(asked)), "rows": rows}


def _values(
    vectors: NDArray[np.float32], design: NDArray[np.int64], query: NDArray[np.int64], own: int
) -> dict[str, float]:
    """Return 1 / rank of the own design by each way."""
    kept = np.setdiff1d(np.arange(len(vectors)), query)
    cosines = vectors[query].astype(np.float64) @ vectors[kept].T.astype(np.float64)
    best = np.full((len(query), int(design.max()) + 1), -1.0)
    for view, line in zip(best, cosines, strict=True):
        np.maximum.at(view, design[kept], line)
    singles = [_reciprocal(view, own) for view in best]
    middle = vectors[query].mean(axis=0)
    mean = vectors[kept] @ (middle / np.linalg.norm(middle))
    summed = np.full(best.shape[1], -1.0)
    np.maximum.at(summed, design[kept], mean)
    told = {"one view": float(np.mean(singles)), "its best view, if one knew": max(singles)}
    told |= {"sum of the embeddings": _reciprocal(summed, own)}
    told |= {way: _reciprocal(score(best), own) for way, score in WAYS.items()}
    shipped = nearest_groups(
        FlatIndex(vectors), vectors[query], best.shape[1], groups=design.astype(np.int32),
        vectors=ArrayVectors(vectors), rows=kept,
    )  # fmt: skip
    [rank] = [rank for rank, one in enumerate(shipped, start=1) if one.group == own]
    if 1 / rank != told[OURS]:
        sys.exit("what ships ranks otherwise than its formula")
    return told


def _reciprocal(scores: NDArray[np.float64], own: int) -> float:
    return 1 / (1 + int(np.count_nonzero(scores > scores[own])))


def votes(patents: Embedded, test: set[str]) -> dict[str, Any]:
    """Let the nearest designs vote on the class of each patent of the test part."""
    names, design = np.unique(np.array(patents.designs), return_inverse=True)
    labels = [
        patents.labels[int(np.flatnonzero(design == place)[0])] for place in range(len(names))
    ]
    told = []
    for own, name in enumerate(names):
        same_class = sum(each[:1] == labels[own][:1] for each in labels)
        if name not in test or same_class < 2:
            continue
        mine = np.flatnonzero(design == own)
        nearest = nearest_groups(
            FlatIndex(patents.embeddings), patents.embeddings[mine], VOTERS,
            groups=design.astype(np.int32), vectors=ArrayVectors(patents.embeddings), without=mine,
        )  # fmt: skip
        voters = [DesignRecord("", labels[one.group], 0, "") for one in nearest]
        said = vote(voters)
        assert said is not None
        told.append(
            {
                "votes": said.votes,
                "clear": said.clear,
                "class_right": said.labels[:1] == labels[own][:1],
                "right": said.labels == labels[own][: len(said.labels)],
            }
        )
    return {"asked": told, "classes": len({each[:1] for each in labels if each})}


def cost(dim: int) -> list[dict[str, Any]]:
    """Time finding ten designs with so many views, among made vectors."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="edge-ret-views-") as place:
        for figures in COSTS:
            folder = Path(place) / str(figures)
            folder.mkdir()
            make_vectors(folder, figures, dim, graph=False, seed=0)
            asked = MadeVectors(figures, dim=dim).queries(ROUNDS * max(NUMBERS))
            groups = (np.arange(figures) // A_DESIGN).astype(np.int32)
            index = open_index(folder, "first pass", dim)
            samples: dict[int, list[float]] = {many: [] for many in NUMBERS}
            for turn in range(-2, ROUNDS):  # two rounds warm up
                for many in NUMBERS:
                    views = asked[abs(turn) * max(NUMBERS) :][:many]
                    start = time.process_time()
                    nearest_groups(
                        index, views, 10, groups=groups, vectors=index.vectors  # type: ignore[attr-defined]
                    )  # fmt: skip
                    if turn >= 0:
                        samples[many].append(time.process_time() - start)
            rows += [
                {"figures": figures, "views": many, "cpu": own} for many, own in samples.items()
            ]
    return rows


if __name__ == "__main__":
    main()
