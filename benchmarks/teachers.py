"""What makes a good teacher of frozen features: which levels, which size, which map?

Question: features of ImageNet networks on real multi-view patents, three-fold: the map is fitted on
two thirds of the designs of the training and validation parts and on single front pages, and every
figure of the last third searches that third alone. The test part takes no part: this is what the
teacher was chosen by.

    python benchmarks/teachers.py path/to/uspto-multiview --front path/to/uspto-2007 \\
        --weights path/to/weights

Writes benchmarks/results/teachers.json; features are kept in --work.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config import TrainConfig
from distill.data import Drawings, Scheme, load_drawings
from distill.ensemble import Ensemble, EnsembleConfig, discriminant
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.split import read_split

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SPLIT = HERE.parent / "models" / "splits" / "uspto-multiview.toml"
NETWORKS = {
    "v2": ("mobilenetv2_100", 'pad_type = "same"', "mobilenetv2_100_imagenet.fp16.pt"),
    "v1/2": (
        "mobilenetv1_100",
        'pad_type = "same", channel_multiplier = 0.5',
        "mobilenetv1_050_imagenet.fp16.pt",
    ),
}
SINGLE = [(name, size, pool) for name in NETWORKS for size in (160, 224, 320)
          for pool in ("avg", "levels")]  # fmt: skip
TOGETHER = {
    "v1/2 at 224 + 320, levels": [("v1/2", 224, "levels"), ("v1/2", 320, "levels")],
    "v1/2 + v2 at 320, levels": [("v1/2", 320, "levels"), ("v2", 320, "levels")],
    "both at 224 + 320, levels": [(n, s, "levels") for n in NETWORKS for s in (224, 320)],
}
FOLDS, DRAWS = 3, 3
Rows = NDArray[np.float32]


def features_of(member: tuple[str, int, str], sources: Sequence[Path], args: Any) -> Any:
    """Return drawings and ``(2N, F)``: plain, then mirrored; computed once."""
    name, size, pool = member
    backbone, settings, weights = NETWORKS[name]
    config = TrainConfig(
        backbone=backbone, backbone_args=settings, weights=str(args.weights / weights),
        channels=3, pool=pool, size=size,
    )  # fmt: skip
    split = read_split(SPLIT)
    drawings = load_drawings(
        sources, config, cache=args.work / "cache", labelled=False,
        keep=lambda number: split.part_of(number) != "test",
    )  # fmt: skip
    file = args.work / f"{name.replace('/', '-')}-{size}-{pool}.npy"
    if not file.is_file():
        print(f"features: {member}", flush=True)
        np.save(file, Ensemble(EnsembleConfig((config,))).features_of(drawings))
    return drawings, np.load(file)


def folded(drawings: Drawings, features: Rows, way: str, dim: int, shrinkage: float) -> list[float]:
    """Return the mean patent mAP of each draw of folds."""
    views = drawings.schemes[1]
    count = len(drawings)
    designs = np.unique(views.codes[:, -1])
    found = []
    for draw in range(DRAWS):
        fold = np.random.default_rng(draw).permutation(len(designs)) % FOLDS
        own = fold[np.searchsorted(designs, views.codes[:, -1])]  # (n,)
        values, queries = 0.0, 0
        for number in range(FOLDS):
            fitted = [drawings.schemes[0], views.only(own != number)]
            tested = views.only(own == number)
            rows = mapped(features, fitted, tested, count, way, dim, shrinkage)
            [score] = [
                s
                for s in leave_one_out(rows, tested.codes, tested.levels)
                if s.level == tested.levels[-1]
            ]
            values, queries = values + score.values["mAP"] * score.queries, queries + score.queries
        found.append(values / queries)
    return found


def mapped(
    features: Rows, fitted: Sequence[Scheme], tested: Scheme, count: int, way: str, dim: int,
    shrinkage: float,
) -> Rows:  # fmt: skip
    """Return ``(n, D)`` of the tested figures, of length 1."""
    plain = features[tested.rows].astype(np.float64)
    if way == "discriminant":
        both = [
            replace(
                s,
                codes=np.concatenate([s.codes, s.codes]),
                rows=np.concatenate([s.rows, s.rows + count]),
            )
            for s in fitted
        ]
        found = discriminant(features, both, dim=dim, shrinkage=shrinkage)
        plain = (plain - found["shift"]) / found["scale"] @ found["directions"]
    elif way == "whitened":
        own = features[np.concatenate([s.rows for s in fitted])].astype(np.float64)
        shift, scale = own.mean(0), own.std(0) + 1e-4
        own = (own - shift) / scale
        variances, axes = np.linalg.eigh(own.T @ own / len(own))
        kept = np.argsort(variances)[::-1][: min(dim, len(own) - 1)]
        plain = (plain - shift) / scale @ (axes[:, kept] / variances[kept] ** 0.25)
    return (plain / np.linalg.norm(plain, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    """Measure every network, size, pooling and map, then save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("views", type=Path, help="uspto-multiview")
    parser.add_argument("--front", type=Path, required=True, help="uspto-2007")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/teachers"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    asked = {f"{n} at {s}, {p}": [(n, s, p)] for n, s, p in SINGLE} | TOGETHER
    rows = []
    for name, members in asked.items():
        parts = [features_of(member, [args.front, args.views], args) for member in members]
        drawings = parts[0][0]
        joint = np.concatenate([part / np.linalg.norm(part.std(0)) for _, part in parts], 1)
        scores = {
            "as they are": folded(drawings, joint, "plain", 0, 0),
            "whitened": folded(drawings, joint, "whitened", 256, 0),
            "discriminant": folded(drawings, joint, "discriminant", 256, 0.7),
            "discriminant, 128": folded(drawings, joint, "discriminant", 128, 0.7),
        }
        rows.append({"name": name, "patent mAP": scores})
        print(name, {way: round(float(np.mean(v)), 3) for way, v in scores.items()}, flush=True)
    save_json(
        RESULTS / "teachers.json",
        {
            "question": "patent mAP of frozen features, three-fold over training and validation",
            "folds": FOLDS,
            "draws": DRAWS,
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
