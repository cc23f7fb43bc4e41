"""The command that shows one design of a register."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    LEAST_WIDTH,
    JsonFlag,
    RegisterOption,
    answer,
    completes,
    find_register,
    one_line,
    print_json,
    print_table,
    say,
    takes_any_letter,
    write_text,
)
from edge_retrieval.cli.terminals import PicturesOption, chosen_kind

if TYPE_CHECKING:
    from edge_retrieval.register import FigureRecord

_FIGURE_IS = re.compile(
    r"^\s*FIG(?:URE)?S?\.?\s*\d+\w*\s+(?:is|shows|illustrates|depicts)\s+(?:(?:an?|the)\s+)?", re.I
)
"""How the text of a patent begins to say what a figure shows."""


def show(
    number: Annotated[
        str,
        typer.Argument(
            metavar="DESIGN",
            help="Its number, in any spelling: D909,824.",
            autocompletion=completes("numbers"),
        ),
    ],
    register_path: RegisterOption = None,
    pictures: PicturesOption = "auto",
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page with all its figures.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a register knows of one design, with its drawings where the terminal can.

    Example: edge-ret show USD0909824 --register my-register --html design.html
    """
    from edge_retrieval.cli.pictures import print_pictures
    from edge_retrieval.evidence import design_page
    from edge_retrieval.filters import find_design

    kind = None if as_json else chosen_kind(pictures)
    with find_register(register_path) as register:
        columns = register.columns
        meant = columns.number(find_design(columns, number, where=register.folder))
        if html is not None:
            write_text(html, design_page.design_page(register, meant))
        if as_json:
            print_json(design_page.design_as_data(register, meant))
        else:
            design, figures = register.design(meant), design_page.figures_of(register, meant)
            print_facts(meant, design_page.facts_of(design))
            places = [design_page.place_of(figure) for figure in figures]
            print_figures(design_page.held(design), figures, places)
            print_pictures(
                kind, ((_label(figure), register.picture(figure.row)) for figure in figures)
            )
    if html is not None:
        say(f"page: {html.resolve()}")


def print_facts(number: str, facts: Mapping[str, str]) -> None:
    """Print what is known, a name and its text a line; long ones go on below in a terminal."""
    width = max(len(name) for name in facts) + 4 if facts else 0
    room = max(40, shutil.get_terminal_size().columns) - width - 1
    answer(one_line(number))
    for name, text in facts.items():
        lines = [one_line(text)]
        # A script looks for one line, and a path that is broken cannot be copied.
        if sys.stdout.isatty() and max(map(len, lines[0].split())) <= room:
            lines = textwrap.wrap(lines[0], room, break_on_hyphens=False)
        answer(f"  {name:{width - 2}}" + f"\n{' ' * width}".join(lines))


def print_figures(title: str, figures: Sequence[FigureRecord], places: Sequence[str]) -> None:
    """Print what each figure shows and where it was found, a line each."""
    answer("")
    if not figures:
        answer(title)
        return
    sheets = [figure.sheet for figure in figures]
    if sys.stdout.isatty():
        sheets = without_beginning(sheets)
    told = any(figure.description for figure in figures)  # a source may say nothing of any
    print_table(
        title,
        (
            ("figure", "right"),
            *([("shows", "cut")] if told else []),
            ("sheet", "cut"),
            ("on the sheet, in pixels", "left"),
        ),
        [
            (str(figure.figure), *([view_of(figure)] if told else []), sheet, place)
            for figure, sheet, place in zip(figures, sheets, places, strict=True)
        ],
    )


def without_beginning(names: Sequence[str]) -> list[str]:
    """Leave out what all of several names begin with, up to a hyphen: "…D00002.TIF"."""
    first, last = min(names, default=""), max(names, default="")
    pairs = enumerate(zip(first, last, strict=False))
    differ = next((place for place, (one, other) in pairs if one != other), 0)
    shared = first[: 1 + max(first.rfind(mark, 0, differ) for mark in "-_/ ")]
    if len(shared) < LEAST_WIDTH or not takes_any_letter():
        return list(names)
    return [f"…{name.removeprefix(shared)}" for name in names]


def view_of(figure: FigureRecord) -> str:
    """Return what a figure shows, without its number: "top view" of "FIG. 2 is a top view"."""
    return _FIGURE_IS.sub("", figure.description) or figure.description


def _label(figure: FigureRecord) -> str:
    """Return what stands below a figure's picture."""
    return f"{figure.figure} {view_of(figure)}" if figure.description else figure.name
