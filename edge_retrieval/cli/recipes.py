"""Commands that follow a recipe: a teacher, and the whole line to bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import bar, one_line, say
from edge_retrieval.errors import ConfigError

Data = Annotated[
    list[Path], typer.Option("--data", help="A source of real designs to train on. Repeatable.")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Folder of the weights that the recipe names.")
]


def teacher(
    recipe: Annotated[Path, typer.Argument(help="For example models/teacher/recipe.toml.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    weights: Weights = None,
    split_file: Annotated[
        Path | None,
        typer.Option("--split", help="Leave out what this file gives to another part than train."),
    ] = None,
) -> None:
    """Fit a teacher: frozen networks, seen along the directions that tell designs apart.

    Example: edge-ret teacher models/teacher/recipe.toml --data uspto-2007 --weights w/ -o teacher
    """
    import distill

    distill.require("train")
    from distill.ensemble import ABOUT, fit_ensemble
    from edge_retrieval.split import read_split

    if (out / ABOUT).exists():
        raise ConfigError(f"{out} holds a teacher already", hint="give a new folder with -o")
    split = None if split_file is None else read_split(split_file)
    fit_ensemble(recipe, data, out, weights=weights, split=split, track=bar)
    print(f"{out}: fitted")
    say(f"next: edge-ret train ... --set teacher={out}")


def reproduce(
    recipe: Annotated[Path, typer.Argument(help="For example models/small/recipe.toml.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for all of it.")],
    valid: Annotated[
        Path | None,
        typer.Option(
            "--valid", help="A source to validate and calibrate on, by the split's parts."
        ),
    ] = None,
    ldraw: Annotated[
        Path | None, typer.Option("--ldraw", help="The archive of an LDraw library.")
    ] = None,
    weights: Weights = None,
    threads: Annotated[int, typer.Option("--threads", help="0: all cores.", min=0)] = 0,
) -> None:
    """Make an encoder again from its recipe: drawings, teacher, training, INT8, strengths.

    The same command goes on where it was stopped. Example:
    edge-ret reproduce models/small/recipe.toml --data uspto-2007 --data uspto-multiview
    --valid uspto-multiview --ldraw ldraw.tar.xz --weights weights/ -o work
    """
    import distill

    distill.require("train")
    distill.require("export")
    from distill.line import Line
    from distill.line import reproduce as run

    bundles = run(
        Line.load(recipe),
        data,
        out,
        validation=valid,
        ldraw=ldraw,
        weights=weights,
        threads=threads,
        track=bar,
        tell=lambda line: say(one_line(line)),
    )
    for bundle in bundles:
        print(bundle.folder)
