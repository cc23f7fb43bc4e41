"""Does the shipped encoder retrieve better than raw pixels and than an untrained backbone?

Question: on real multi-view design patents that it was never trained on, single figures, captions
removed, each figure left out in turn, what is the mean average precision at patent, subclass and
class level?

    python benchmarks/baselines.py path/to/uspto-multiview

Writes benchmarks/results/baselines.json; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from edge_retrieval.arrays import Embeddings, Pixels
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing import FigureImage, Preprocessing, cut_sheet, fit
from edge_retrieval.encoder import embed_figures, load_encoder
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.sources import Problem, open_source
from edge_retrieval.taxonomy import LOCARNO_LEVELS, LabelPath, Taxonomy

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
"""Random initialisations of the untrained backbone."""


def read_figures(source: Path) -> tuple[list[Pixels], list[LabelPath], list[str]]:
    """Cut every sheet of a table source; return masters, label paths and what was skipped."""
    masters: list[Pixels] = []
    paths: list[LabelPath] = []
    skipped: list[str] = []
    for item in open_source(source, kind="table"):
        if isinstance(item, Problem):
            skipped.append(f"{item.where}: {item.reason}")
            continue
        for sheet in item.sheets:
            try:
                figures: list[FigureImage] = cut_sheet(
                    sheet.read(), where=sheet.where, boxes=sheet.boxes
                )
            except EdgeRetrievalError as error:
                skipped.append(str(error))
                continue
            masters += [figure.pixels for figure in figures]
            paths += [(*item.labels, item.number)] * len(figures)
    return masters, paths, skipped


def unit(rows: np.ndarray) -> Embeddings:
    """Scale rows to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def pixels_28(masters: list[Pixels]) -> Embeddings:
    """28 x 28 grey values of each figure, padded to a square, mean removed: (N, 784)."""
    square = Preprocessing(size=112)
    rows = []
    for master in masters:
        image = Image.fromarray(fit(master, square)[0])  # (112, 112) float
        rows.append(np.asarray(image.resize((28, 28), Image.Resampling.BOX)).ravel())
    table = np.stack(rows)
    return unit(table - table.mean(axis=1, keepdims=True))


def untrained(bundle: Bundle, seed: int) -> Callable[[list[Pixels]], Embeddings]:
    """The bundle's own network with random weights."""

    def embed(masters: list[Pixels]) -> Embeddings:
        from distill.config import TrainConfig
        from distill.model import TorchEncoder, make_student, preprocessing_of

        trained = bundle.provenance["config"]
        config = TrainConfig(**(trained | {"weights": "none", "seed": seed}))
        return embed_figures(TorchEncoder(make_student(config), preprocessing_of(config)), masters)

    return embed


def shipped(folder: Path) -> Callable[[list[Pixels]], Embeddings]:
    """A bundle as it is used on a device."""
    return lambda masters: embed_figures(load_encoder(Bundle.open(folder)), masters)


def main() -> None:
    """Measure every contestant on the same figures and save the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="folder with metadata.csv (uspto-multiview)")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="more bundles")
    args = parser.parse_args()

    masters, paths, skipped = read_figures(args.source)
    codes = Taxonomy.of(paths, LOCARNO_LEVELS).encode(paths)  # (N, 3)
    default = default_bundle_path()
    contestants: dict[str, Callable[[list[Pixels]], Embeddings]] = {"pixels 28x28": pixels_28}
    for seed in SEEDS:
        contestants[f"untrained backbone, seed {seed}"] = untrained(Bundle.open(default), seed)
    for folder in [*args.bundle, default]:
        bundle = Bundle.open(folder)
        contestants[bundle.name] = shipped(folder)

    rows = []
    for name, embed in contestants.items():
        start = time.process_time()
        embeddings = embed(masters)
        seconds = time.process_time() - start
        scores = leave_one_out(embeddings, codes, LOCARNO_LEVELS)
        rows.append(
            {
                "encoder": name,
                "cpu_seconds_per_figure": seconds / len(masters),
                "scores": [
                    {
                        "level": s.level,
                        "relevance": s.relevance,
                        "gallery": s.gallery,
                        "queries": s.queries,
                        "skipped": s.skipped,
                        "values": s.values,
                    }
                    for s in scores
                ],
            }
        )
        patent = next(s for s in scores if s.level == LOCARNO_LEVELS[-1])
        print(f"{name:40} patent mAP {patent.values['mAP']:.3f}")
    save_json(
        RESULTS / "baselines.json",
        {
            "question": "patent, subclass and class mAP on real drawings never trained on",
            "source": args.source.name,
            "designs": len({path[-1] for path in paths}),
            "figures": len(masters),
            "skipped": skipped,
            "convention": "leave one figure out; AP over the whole ranking; cosine",
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
