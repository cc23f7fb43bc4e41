"""Does a student with a teacher retrieve better than the same student without?

Question: one student, one training set, one number of steps, three seeds, with and without the
embeddings of a larger network at a higher resolution; how good is each on real multi-view design
patents that no training saw?

    python benchmarks/distillation.py path/to/uspto-multiview --train made/ \\
        --train path/to/uspto-2007 --recipe benchmarks/recipes/losses-scratch.toml \\
        --teacher path/to/weights/mobilenetv1_075_imagenet.fp16.pt

The runs without a teacher are those of `losses.py` with the same recipe. Writes
benchmarks/results/distillation.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from training_runs import MEASURES, Run, run_all, score

from distill.config import TrainConfig
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
WAYS = {
    "no teacher": ("loss=hierarchical",),
    "teacher + hierarchical": ("loss=hierarchical", "label_weight=1"),
    "teacher alone": ("loss=hierarchical", "label_weight=0"),
}
"""How a student is trained -> settings; all but the first name the teacher as well."""


def teacher_recipe(weights: Path, size: int, folder: Path) -> Path:
    """Write the recipe of a bare ImageNet network at a higher resolution than the student's."""
    width = {"075": 0.75, "050": 0.5, "100": 1.0}[weights.stem.split("_")[1]]
    config = TrainConfig(
        backbone=weights.stem.split("_")[0] + "_100",
        backbone_args=f'channel_multiplier = {width}, pad_type = "same"',
        weights=str(weights.resolve()),
        size=size,
        channels=3,
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{weights.stem.split('.')[0]}-{size}.toml"
    config.save(file)
    return file


def bare_features(recipe: Path, source: Path, cache: Path) -> dict[str, float]:
    """Return what the teacher's plain features score: cosine, neither mirrored nor whitened."""
    from distill.data import load_drawings
    from distill.teacher import open_teacher

    teacher = open_teacher(str(recipe))
    own = TrainConfig(size=teacher.preprocessing.size, channels=teacher.preprocessing.channels)
    drawings = load_drawings([source], own, cache=cache)
    scheme = drawings.schemes[0]
    parts = np.array_split(scheme.rows, max(1, len(scheme.rows) // 64))
    rows = np.concatenate([teacher.embed(drawings.images(part)) for part in parts])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = {
        (s.level, s.relevance): s.values for s in leave_one_out(rows, scheme.codes, scheme.levels)
    }
    return {name: found[level, kind][m] for name, (level, kind, m) in MEASURES.items()}


def main() -> None:
    """Train and score every way with every seed, then save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("test", type=Path, help="source to test on (uspto-multiview)")
    parser.add_argument("--train", type=Path, action="append", required=True, help="a source")
    parser.add_argument("--recipe", type=Path, required=True, help="settings that all runs share")
    parser.add_argument("--teacher", type=Path, required=True, help="weights of a MobileNet v1, v2")
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all of them")
    parser.add_argument("--teacher-size", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/losses"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    args = parser.parse_args()

    recipe, cache = args.recipe.stem, args.runs / "cache"
    teacher = teacher_recipe(args.teacher, args.teacher_size, args.runs)
    runs = []
    for seed in range(args.seeds):
        for way in args.way or WAYS:
            settings = WAYS[way]
            name, more = f"{recipe}-hierarchical-{seed}", ()
            if way != "no teacher":
                name = f"{recipe}-{way.replace(' ', '-')}-{seed}"
                more = (f"teacher={teacher}",)
            facts = {"way": way, "seed": seed}
            runs.append(Run(name, args.recipe, (*settings, *more, f"seed={seed}"), facts))
    # The first run with a teacher computes its embeddings; the others find them in the cache.
    first = [run for run in runs if run.facts["way"] != "no teacher"][:1]
    run_all(first, args.train, args.runs, jobs=1, cache=cache)
    run_all(runs, args.train, args.runs, jobs=args.jobs, cache=cache)
    rows = [{**run.facts, **score(args.runs / run.name, args.test, cache)} for run in runs]
    config = TrainConfig.load(args.recipe)
    result: dict[str, Any] = {
        "question": "one student with and without a teacher, equal steps",
        "recipe": recipe,
        "backbone": config.backbone,
        "size": config.size,
        "teacher": teacher.stem,
        "teacher_scores": bare_features(teacher, args.test, cache),
        "train": [path.name for path in args.train],
        "test": args.test.name,
        "convention": "leave one figure out; AP over the whole ranking; cosine; last weights",
        "rows": rows,
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    save_json(RESULTS / "distillation.json", result)


if __name__ == "__main__":
    main()
