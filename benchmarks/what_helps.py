"""What of the recipe helps: variants, cells, teacher, labels, tree, size, made drawings?

Question: one thing changed at a time, short runs at a small size, several seeds: how good is each
on real multi-view patents that it never saw? All end as the recipe does: with the projection fitted
anew on the real drawings. Nothing was chosen by the test part.

    python benchmarks/what_helps.py path/to/uspto-multiview --front path/to/uspto-2007 \\
        --made made/ --ldraw ldraw/ --teacher teacher/

`made/`, `ldraw/` and `teacher/` are what `edge-ret reproduce models/small/recipe.toml` makes on its
way. Runs are kept in --runs and not run twice; `--only` takes some contestants. Writes
benchmarks/results/what_helps.json.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distill.config import TrainConfig
from distill.data import load_drawings
from distill.model import TorchEncoder, load_student, preprocessing_of
from distill.refit import refit
from distill.train import train
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.split import Split, read_split

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SPLIT = HERE.parent / "models" / "splits" / "uspto-multiview.toml"
RECIPE = HERE / "recipes" / "what-helps.toml"
SHRINKAGE = 0.15  # of the last step of the recipe that ships
EVERYTHING = ("front", "views", "made", "ldraw")
NO_LINES = ("strokes=0", "contrast=0", "erase=0", "dashes=0", "binarise=0", "specks=0")
STRONG_LINES = ("strokes=0.7", "contrast=0.5", "erase=0.3", "dashes=0.1", "binarise=0.1")
AS_THE_RECIPE = ("not refitted", "not mirrored in the end")
"""Contestants that are trained as the recipe is, and finished in another way."""
MNV4 = ("backbone=mobilenetv4_conv_small", "backbone_args=", "precision=fp32")
CONTESTANTS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "the recipe": (EVERYTHING, ()),
    "with cells, 3 x 3": (EVERYTHING, ("cells=3",)),
    "without variants": (EVERYTHING, ("variants=0", "classes=4", "subclasses=2", "designs=2")),
    "without a teacher": (
        EVERYTHING,
        (
            "teacher=",
            "variants=0",
            "label_weight=1",
            "classes=4",
            "subclasses=2",
            "designs=2",
        ),
    ),
    "teacher alone, no labels": (EVERYTHING, ("label_weight=0",)),
    "ten times the labels' weight": (EVERYTHING, ("label_weight=1",)),
    "SupCon + ArcFace: no tree": (EVERYTHING, ("mass=[0, 0, 1]",)),
    "InfoNCE for labels": (EVERYTHING, ("loss=infonce",)),
    "64 px": (EVERYTHING, ("size=64",)),
    "160 px": (EVERYTHING, ("size=160",)),
    "224 px": (EVERYTHING, ("size=224",)),
    "no line augmentation": (EVERYTHING, NO_LINES),
    "strong line augmentation": (EVERYTHING, STRONG_LINES),
    "average of the last level": (EVERYTHING, ("pool=avg",)),
    "MobileNetV4-conv-small": (EVERYTHING, MNV4),
    "not refitted": (EVERYTHING, ()),
    "not mirrored in the end": (EVERYTHING, ()),
    "without made drawings": (("front", "views", "ldraw"), ()),
    "without LDraw": (("front", "views", "made"), ()),
    "real drawings alone": (("front", "views"), ()),
}
"""Name -> sources, settings over the recipe."""


def score(run: Path, source: Path, split: Split, cache: Path, part: str, symmetric: bool) -> Any:
    """Let every figure of a part search the others of that part, with a run's last weights."""
    student, config = load_student(run, checkpoint="last")
    student.symmetric = symmetric
    drawings = load_drawings([source], config, cache=cache, keep=split.within(part))
    scheme = drawings.schemes[0]
    rows = TorchEncoder(student, preprocessing_of(config)).embed(drawings.images(scheme.rows))
    found = {(s.level, s.relevance): s for s in leave_one_out(rows, scheme.codes, scheme.levels)}
    patent, subclass = found["design", "inclusive"], found["subclass", "exclusive"]
    return {
        "patent mAP": patent.values["mAP"],
        "hit_rate@5": patent.values["hit_rate@5"],
        "subclass mAP": subclass.values["mAP"],
        "H-AP": found["all", "inclusive"].values["H-AP"],
        "gallery": patent.gallery,
    }


def main() -> None:
    """Train and score every contestant with every seed, then save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("views", type=Path, help="real patents of several views: uspto-multiview")
    parser.add_argument("--front", type=Path, required=True, help="uspto-2007")
    parser.add_argument("--made", type=Path, required=True)
    parser.add_argument("--ldraw", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", action="append", choices=list(CONTESTANTS), help="default: all")
    parser.add_argument("--set", action="append", default=[], help="name=value for all runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/what-helps"))
    parser.add_argument("--cache", type=Path, help="of cut drawings; default: in --runs")
    args = parser.parse_args()

    sources = {name: getattr(args, name) for name in EVERYTHING}
    split, cache = read_split(SPLIT), args.cache or args.runs / "cache"
    config = TrainConfig.load(RECIPE).with_settings([f"teacher={args.teacher}", *args.set])
    rows: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for name, (used, settings) in CONTESTANTS.items():
            if args.only and name not in args.only:
                continue
            folder = "the recipe" if name in AS_THE_RECIPE else name
            run = args.runs / f"{re.sub('[^a-z0-9]+', '-', folder.lower())}-{seed}"
            if not (run / "finished").exists():
                own = config.with_settings([*settings, f"seed={seed}"])
                # Scored below, not on the way: at a size so small the guard against leaks takes a
                # hook of LDraw for that of a patent.
                train(
                    own,
                    [sources[one] for one in used],
                    run,
                    split=split,
                    cache=cache,
                    resume=(run / "config.toml").is_file(),
                )
                (run / "finished").touch()
            ended = run
            if name != "not refitted":
                ended = run.with_name(f"{run.name}-refitted")
                if not (ended / "last.safetensors").is_file():
                    real = [args.front, args.views]
                    refit(run, real, ended, shrinkage=SHRINKAGE, split=split, cache=cache)
            mirrored = name != "not mirrored in the end"
            parts = {
                part: score(ended, args.views, split, cache, part, mirrored)
                for part in ("validation", "test")
            }
            rows.append({"name": name, "seed": seed, "settings": list(settings), **parts})
            print(f"{name}, seed {seed}: {parts['test']['patent mAP']:.3f}", flush=True)
            save(config, rows)


def save(config: TrainConfig, rows: Sequence[dict[str, Any]]) -> None:
    """Write what is known so far: a long benchmark may be stopped."""
    save_json(
        RESULTS / "what_helps.json",
        {
            "question": "one thing of the recipe changed at a time, real patents never seen",
            "size": config.size,
            "steps": config.steps,
            "batch": f"{config.batch_size} of every source and {config.variant_batch} variants",
            "network": config.backbone,
            "convention": "leave one figure out; AP over the whole ranking; cosine; last weights",
            "rows": list(rows),
            "threads": torch.get_num_threads(),
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
