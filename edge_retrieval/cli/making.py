"""Commands that make drawings, runs and bundles; what they need of `distill` they import inside."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    bar,
    count,
    one_line,
    print_table,
    say,
    show_problems,
)
from edge_retrieval.errors import ConfigError

LEAST_OVERLAP = 0.8
"""Share of the ten nearest neighbours that INT8 must keep to pass without a warning."""


def train(
    data: Annotated[
        list[Path], typer.Option("--data", help="A source of labelled designs. Repeatable.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder. Default: runs/ and a number.")
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option("--config", help="Settings as TOML, or a recipe that ships: resnet18, say."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One setting: name=value. Repeatable; an unknown name lists all of them."
        ),
    ] = None,
    valid: Annotated[
        list[Path] | None,
        typer.Option("--valid", help="A source to validate on. Default: designs held out of DATA."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
) -> None:
    """Train an encoder with the hierarchical multi-positive contrastive loss, or another.

    Example: edge-ret train --data made/ --set steps=2000 -o runs/first

    Several processes share every batch: torchrun --nproc-per-node 2 -m edge_retrieval.cli train ...
    """
    import distill

    distill.require("train")
    from distill.config import TrainConfig
    from distill.recipes import recipe_path
    from distill.train import train as run_training

    config = TrainConfig()
    if config_file is not None:
        named = Path(config_file)
        is_file = named.exists() or named.suffix == ".toml"
        config = TrainConfig.load(named if is_file else recipe_path(config_file))
    config = config.with_settings(settings or ())
    leads = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if out is None and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("several processes need one run folder", hint="name it with -o")
    if out is None and resume:
        raise ConfigError("--resume, but of which run?", hint="name its folder with -o")
    folder = out or next_run_folder(Path("runs"))
    if resume and leads and not (folder / "config.toml").is_file():
        say(one_line(f"note: {folder} holds no run yet: a new one begins"))
    try:
        result = run_training(
            config,
            data,
            folder,
            validation=valid or (),
            resume=resume,
            track=bar,
            tell=lambda line: say(one_line(line)),
        )
    except KeyboardInterrupt:
        if leads:
            say(f"stopped; the same command with -o {folder} --resume goes on")
        raise
    if not leads:
        return
    show_problems(result.problems, what="skipped")
    early = ", stopped early" if result.stopped_early else ""
    print(f"{folder}: {count(result.epochs, 'epoch')}, {count(result.steps, 'step')}{early}")
    if math.isfinite(result.best_h_ap):
        print(
            f"best on held-out designs (epoch {result.best_epoch}), one figure left out:"
            f" H-AP {result.best_h_ap:.3f}, mAP {result.best_map:.3f}"
        )
        say(f"look: {folder / 'curves.png'}, {folder / 'worst.html'}")
    else:
        say("no design with two figures could be held out: nothing tells how good it is")
    say(f"next: edge-ret export {folder} --int8")
    if result.problems:
        say(f"skipped: {count(len(result.problems), 'input')}; see {folder / 'problems.json'}")
        raise typer.Exit(EXIT_SKIPPED)


def next_run_folder(runs: Path) -> Path:
    """Return runs/1, runs/2, ...: the first that does not exist."""
    number = next(n for n in itertools.count(1) if not (runs / str(n)).exists())
    return runs / str(number)


def latest_run(runs: Path) -> Path:
    """Return the run folder that was written last."""
    found = [folder for folder in runs.glob("*") if (folder / "config.toml").is_file()]
    if not found:
        raise ConfigError(
            f"there is no run in {runs}/", hint="train first: edge-ret train --data FOLDER"
        )
    return max(found, key=lambda folder: (folder / "config.toml").stat().st_mtime)


def export(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the latest.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to INT8 as well.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the bundles go.")] = Path(
        "bundles"
    ),
    name: Annotated[str | None, typer.Option("--name", help="Default: the run's name.")] = None,
) -> None:
    """Turn a run into bundles: ONNX, and INT8 ONNX with its agreement with FP32."""
    import distill

    distill.require("export")
    from distill.export import export_run

    folder = run if run is not None else latest_run(Path("runs"))
    if not (folder / "config.toml").is_file():
        raise ConfigError(f"{folder} is no run", hint="give a folder that edge-ret train wrote")
    say(f"run: {folder}")
    result = export_run(folder, out, int8=int8, name=name or folder.name, track=bar)
    rows = [
        (bundle.name, bundle.precision, f"{bundle.files['model.onnx'].bytes / 1e6:.2f} MB")
        for bundle in result.bundles
    ]
    print_table("Bundles", (("name", "left"), ("precision", "left"), ("size", "right")), rows)
    print(f"largest difference from torch: {result.parity:.1e}")
    if result.agreement is not None:
        print(
            f"INT8 against FP32 on {result.agreement.figures} drawings: mean cosine"
            f" {result.agreement.mean_cosine:.4f}, worst 1 % {result.agreement.p1_cosine:.4f},"
            f" overlap@10 {result.agreement.overlap:.3f}"
        )
        if result.agreement.overlap < LEAST_OVERLAP:
            say(
                "warning: INT8 finds other neighbours than FP32; measure it before you use it:"
                f" edge-ret eval {result.bundles[-1].folder} --data SOURCE"
            )
    say(f"next: edge-ret index SOURCE --bundle {result.bundles[-1].folder} -o register")


def synth(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    designs: Annotated[int, typer.Option("--designs", help="How many.", min=1)] = 260,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same drawings.")] = 0,
    views: Annotated[int, typer.Option("--views", help="Figures a design.", min=1, max=8)] = 6,
    size: Annotated[int, typer.Option("--size", help="Pixels a side.", min=64, max=2048)] = 512,
    sheets: Annotated[
        bool, typer.Option("--sheets", help="Pages with captions, as an office publishes them.")
    ] = False,
    restyled: Annotated[
        float,
        typer.Option(
            "--restyled", help="Share of designs whose figures are by several hands.", min=0, max=1
        ),
    ] = 0.0,
    workers: Annotated[int, typer.Option("--workers", help="Processes.", min=1)] = 1,
) -> None:
    """Make design drawings with the true hierarchy: class > subclass > design > view."""
    import distill

    distill.require("train")
    from distill.synthetic import generate

    if sheets and restyled:
        raise ConfigError("--restyled has no meaning with --sheets", hint="leave one of them out")
    made = generate(
        out,
        designs=designs,
        seed=seed,
        views=views,
        size=size,
        sheets=sheets,
        restyled=restyled,
        workers=workers,
        track=bar,
    )
    print(f"{out}: {made.designs} designs, {made.figures} figures in {made.files} files")
    say(f"next: edge-ret index {out} -o register")
