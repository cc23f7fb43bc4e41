"""Commands that make drawings, runs and bundles; what they need of `distill` they import inside."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    bar,
    count,
    one_line,
    say,
    show_problems,
)
from edge_retrieval.errors import ConfigError


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
    split_file: Annotated[
        Path | None,
        typer.Option(
            "--split",
            help="Leave out what this file gives to another part than train; of --valid use its"
            " validation part alone.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where OUT stopped.")] = False,
) -> None:
    """Train an encoder with the hierarchical multi-positive contrastive loss, or another.

    Several processes share every batch: torchrun --nproc-per-node 2 -m edge_retrieval.cli train ...

    Example: edge-ret train --data made/ --set steps=2000 -o runs/first
    """
    import distill

    distill.require("train")
    from distill.config import TrainConfig
    from distill.recipes import recipe_path
    from distill.train import train as run_training
    from edge_retrieval.split import read_split

    split = None if split_file is None else read_split(split_file)
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
            split=split,
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


def listed(given: Sequence[str] | None) -> list[str]:
    """Return the names of an option that is repeatable and takes several, comma between."""
    return [name.strip() for each in given or () for name in each.split(",") if name.strip()]


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
    families: Annotated[
        list[str] | None,
        typer.Option("--families", help="Only these: chair,stool. A wrong one lists all."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="None of these families: to test on, say."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes.", min=1)] = 1,
) -> None:
    """Make design drawings with the true hierarchy: class > subclass > design > view.

    Examples: edge-ret data synth made/ --designs 520 --seed 1; edge-ret data synth sheets/ --sheets
    """
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
        families=listed(families),
        without=listed(without),
        workers=workers,
        track=bar,
    )
    print(f"{out}: {made.designs} designs, {made.figures} figures in {made.files} files")
    say(f"next: edge-ret index {out} -o register")


def ldraw(
    archive: Annotated[
        Path, typer.Argument(help="A tar archive of an LDraw library: parts/ and p/.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    designs: Annotated[int, typer.Option("--designs", help="Most parts to draw.", min=1)] = 260,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same drawings.")] = 0,
    views: Annotated[int, typer.Option("--views", help="Figures a part.", min=1, max=8)] = 6,
    size: Annotated[int, typer.Option("--size", help="Pixels a side.", min=64, max=2048)] = 512,
    restyled: Annotated[
        float,
        typer.Option(
            "--restyled", help="Share of parts whose figures are by several hands.", min=0, max=1
        ),
    ] = 0.0,
    workers: Annotated[int, typer.Option("--workers", "--jobs", help="Processes.", min=1)] = 1,
) -> None:
    """Draw the parts of an LDraw library: category > title group > part > view.

    Example: edge-ret data ldraw ldraw.tar.xz parts/ --designs 2500 --seed 1 --restyled 0.5
    """
    import distill

    distill.require("train")
    from distill.ldraw import generate_parts

    drawn = generate_parts(
        archive,
        out,
        designs=designs,
        seed=seed,
        views=views,
        size=size,
        restyled=restyled,
        workers=workers,
        track=bar,
    )
    show_problems(drawn.problems, what="skipped")
    print(f"{out}: {drawn.designs} parts, {count(drawn.figures, 'figure')}")
    for reason, parts in sorted(drawn.passed_over.items()):
        say(f"passed over: {count(parts, 'part')}, {reason}")
    if drawn.designs < designs:
        say(f"the archive has no more parts to draw than these, of {designs} asked for")
    say(f"whoever passes the drawings on names the LDraw Parts Library: {out / 'ATTRIBUTION.txt'}")
    say(f"next: edge-ret index {out} -o register")
    if drawn.problems:
        say(f"skipped: {count(len(drawn.problems), 'part')}")
        raise typer.Exit(EXIT_SKIPPED)
