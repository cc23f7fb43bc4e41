"""Does the hierarchical loss retrieve better than the usual losses, all else being equal?

Question: one backbone, one training set, one number of steps, three seeds; how good is each loss on
real multi-view design patents (labels by Locarno) that none of them was trained on?

    python benchmarks/losses.py path/to/uspto-multiview --train made/ --train path/to/uspto-2007 \\
        --recipe benchmarks/recipes/losses-scratch.toml

Runs are kept in --runs and not run twice. Writes benchmarks/results/losses-RECIPE.json and .png;
`python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from training_runs import Run, run_all, score

from distill.config import LOSSES, TrainConfig
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
CONTESTANTS = {loss: (f"loss={loss}",) for loss in LOSSES} | {
    # Without the coarse levels: tells what they add to ArcFace.
    "supcon+arcface": ("loss=hierarchical+arcface", "mass=[0, 0, 1]"),
}
"""Name -> settings."""


def main() -> None:
    """Train and score every loss with every seed, then save and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("test", type=Path, help="source to test on (uspto-multiview)")
    parser.add_argument("--train", type=Path, action="append", required=True, help="a source")
    parser.add_argument("--recipe", type=Path, required=True, help="settings that all runs share")
    parser.add_argument("--loss", action="append", choices=CONTESTANTS, help="default: all")
    parser.add_argument("--finished", action="store_true", help="show other finished runs as well")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="name=value for all runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/losses"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    args = parser.parse_args()

    name = args.recipe.stem
    config = TrainConfig.load(args.recipe).with_settings(args.set)
    runs = [
        Run(
            f"{name}-{loss.replace('+', '-')}-{seed}",
            args.recipe,
            (*args.set, *CONTESTANTS[loss], f"seed={seed}"),
            {"loss": loss, "seed": seed},
        )
        for seed in range(args.seeds)
        for loss in CONTESTANTS
    ]
    cache = args.runs / "cache"
    asked = [run for run in runs if run.facts["loss"] in (args.loss or CONTESTANTS)]
    run_all(asked, args.train, args.runs, jobs=args.jobs, cache=cache)
    done = [run for run in runs if (args.runs / run.name / "finished").is_file()]
    runs = done if args.finished else asked
    rows = [{**run.facts, **score(args.runs / run.name, args.test, cache)} for run in runs]
    result: dict[str, Any] = {
        "question": "the losses on one backbone, one training set, equal steps",
        "recipe": name,
        "config": {k: getattr(config, k) for k in SHOWN} | {"weights": Path(config.weights).name},
        "train": [path.name for path in args.train],
        "test": args.test.name,
        "convention": "leave one figure out; AP over the whole ranking; cosine; last weights",
        "rows": rows,
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    save_json(RESULTS / f"{name}.json", result)
    draw(result, RESULTS / f"{name}.png")


SHOWN = (
    "backbone", "weights", "size", "channels", "pool", "dim", "steps", "classes", "subclasses",
    "designs", "figures", "mass", "scores", "temperature", "lr", "backbone_lr", "ema",
)  # fmt: skip


def draw(result: dict[str, Any], out: Path) -> None:
    """Draw each loss's seeds and their mean, one panel a measure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = ("H-AP", "patent mAP", "subclass mAP", "class mAP, exclusive")
    losses = list(dict.fromkeys(row["loss"] for row in result["rows"]))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(measures), sharey=True)
    places = np.arange(len(losses))[::-1]
    for axis, measure in zip(axes, measures, strict=True):
        for place, loss in zip(places, losses, strict=True):
            values = [r["test"][measure] for r in result["rows"] if r["loss"] == loss]
            ours = loss.startswith("hierarchical")
            colour = "#0072b2" if ours else "#777777"
            axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.45, markersize=5)
            axis.plot(
                [np.mean(values)], [place], "|", color=colour, markersize=16, markeredgewidth=2.5
            )
        axis.set_title(measure, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, losses)
    config, steps = result["config"], result["rows"][0]["steps"]
    figure.suptitle(
        f"{config['backbone']}, {config['size']} px, {steps} steps: each dot a seed, each bar a"
        f" mean ({result['test']})",
        fontsize=11,
    )
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
