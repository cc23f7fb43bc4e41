"""Whole collections of made drawings on disk, and contact sheets to look at them."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from distill.synthetic.design import SyntheticDesign, draw, make_design, restyled
from distill.synthetic.dice import Dice, generator
from distill.synthetic.families import FAMILIES, chosen_families
from distill.synthetic.raster import bilevel_png, grey_png
from distill.synthetic.sheets import make_sheet, paginate
from distill.synthetic.strokes import VIEWS
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent

COLUMNS = ("file_name", "design", "locarno", "title", "view")
SHEET_COLUMNS = (*COLUMNS, "sheet", "box")

Record = dict[str, str]


@dataclass(frozen=True)
class GeneratedSet:
    """What `generate` wrote.

    Attributes:
        folder: Holds `metadata.csv` and `sheets/`.
        designs: How many designs.
        figures: How many figures; rows of the metadata.
        files: How many image files; fewer than figures where sheets hold several.
    """

    folder: Path
    designs: int
    figures: int
    files: int


@dataclass(frozen=True)
class _Plan:
    """Everything that the drawings of one design hang on, besides its number."""

    folder: Path
    seed: int
    views: int
    size: int
    sheets: bool
    restyled: float
    families: tuple[str, ...]


def generate(
    out: Path,
    *,
    designs: int,
    seed: int,
    views: int = 6,
    size: int = 512,
    sheets: bool = False,
    restyled: float = 0.0,
    families: Sequence[str] = (),
    without: Sequence[str] = (),
    workers: int = 1,
    track: Track = silent,
) -> GeneratedSet:
    """Write a collection of made drawings that the `table` source reads.

    Design `n` is the same whatever the number of designs and of workers. Whatever families are
    made, one number always names the same design.

    Args:
        out: A folder that does not exist yet or is empty.
        designs: How many; spread evenly over the subclasses, and in each over its families.
        seed: Everything hangs on it.
        views: Figures a design, 1 to 8; the first is always a perspective.
        size: Pixels a side of a figure; without meaning for sheets, which are 1200 x 1600.
        sheets: Write pages of one to three figures with captions and say in `box` where each
            figure is, instead of one image a figure without a caption.
        restyled: Share of designs whose every figure is drawn by another hand, so that a style
            does not tell which figures belong together.
        families: Only of these, as `chosen_families` reads them; none: of all.
        without: Of none of these.
        workers: Processes.
        track: Shows progress.

    Raises:
        ConfigError: A number is out of range, there is no such family, or the folder is not empty.
    """
    check_request(out, designs, views, size, workers, restyled)
    chosen = chosen_families(families, without)
    plan = _Plan(out, seed, views, size, sheets, restyled, chosen)
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    for rows in track(_write_all(plan, designs, workers), "Drawing designs", designs):
        records += rows
    write_table(out / "metadata.csv", records, SHEET_COLUMNS if sheets else COLUMNS)
    return GeneratedSet(out, designs, len(records), len({row["file_name"] for row in records}))


def check_request(
    out: Path, designs: int, views: int, size: int, workers: int, restyled: float
) -> None:
    """Check what `generate` was asked for.

    Raises:
        ConfigError: A number is out of range, or the folder is not empty.
    """
    if designs < 1:
        raise ConfigError(f"cannot make {designs} designs", hint="ask for 1 or more")
    if not 1 <= views <= len(VIEWS):
        raise ConfigError(f"cannot draw {views} views", hint=f"ask for 1 to {len(VIEWS)}")
    if size < 32:
        raise ConfigError(f"a figure of {size} pixels shows nothing", hint="use 32 or more")
    if workers < 1:
        raise ConfigError(f"cannot work with {workers} processes", hint="use 1 or more")
    if not 0 <= restyled <= 1:
        raise ConfigError(f"restyled is a share, not {restyled}", hint="use 0 to 1")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", hint="name a folder that does not exist yet")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="name a new folder, or empty this one")


def _write_all(plan: _Plan, designs: int, workers: int) -> Iterator[list[Record]]:
    work = partial(_write_design, plan)
    if workers == 1:
        yield from map(work, range(designs))
        return
    context = multiprocessing.get_context("spawn")  # the same on every system
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(work, range(designs), chunksize=4)


def place_of(number: int, families: Sequence[str] = tuple(FAMILIES)) -> tuple[str, int, int]:
    """Return the family key of design `number`, its index in the family and in the subclass.

    Designs go round the subclasses two by two, so that even a small set has subclasses with more
    than one design, and within a subclass round its families.

    Args:
        number: From 0.
        families: Keys of those that are made. The index in the subclass leaves room for the others:
            it is that of the same design where all are made.
    """
    subclasses = _by_subclass(families)
    pair, within = divmod(number, 2)
    turn, place = divmod(pair, len(subclasses))
    locarno, own = list(subclasses.items())[place]
    index, which = divmod(2 * turn + within, len(own))
    every = _by_subclass(tuple(FAMILIES))[locarno]
    return own[which], index, index * len(every) + every.index(own[which])


def _by_subclass(families: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in families:
        found.setdefault(FAMILIES[key].locarno, []).append(key)
    return found


def _choose_views(design: SyntheticDesign, count: int, seed: int) -> list[str]:
    """Return the perspective and others, in the usual order; fewer are a part of more."""
    rng = generator(seed, design.family.key, design.index, "views")
    others = rng.permutation(len(VIEWS) - 1)[: count - 1] + 1
    return [VIEWS[0], *(VIEWS[place] for place in sorted(others.tolist()))]


def _write_design(plan: _Plan, number: int) -> list[Record]:
    """Draw design `number`, write its files and return its rows of the table."""
    family, index, in_subclass = place_of(number, plan.families)
    design = make_design(family, index, plan.seed)
    name = f"MADE-{design.locarno.replace('-', '')}-{in_subclass:05d}"
    views = _choose_views(design, plan.views, plan.seed)
    common = {"design": name, "locarno": design.locarno, "title": design.title}
    if plan.sheets:
        return _write_sheets(plan, design, common, views)
    many_hands = (
        plan.restyled > 0
        and Dice.of(plan.seed, family, index, "restyled").uniform(0, 1) < plan.restyled
    )
    rows = []
    for figure, view in enumerate(views, 1):
        shown = restyled(design, plan.seed, view) if many_hands else design
        file_name = f"sheets/{name}-{figure}.png"
        pixels = draw(shown, view, size=plan.size, seed=plan.seed)
        (plan.folder / file_name).write_bytes(grey_png(pixels))
        rows.append({"file_name": file_name, **common, "view": view})
    return rows


def _write_sheets(
    plan: _Plan, design: SyntheticDesign, common: Record, views: Sequence[str]
) -> list[Record]:
    rng = generator(plan.seed, design.family.key, design.index, "pages")
    rows: list[Record] = []
    for page, shown in enumerate(paginate(views, rng), 1):
        sheet = make_sheet(design, shown, first=len(rows) + 1, page=page, seed=plan.seed)
        file_name = f"sheets/{common['design']}-D{page:05d}.png"
        (plan.folder / file_name).write_bytes(bilevel_png(sheet.ink))
        for view, box in zip(sheet.views, sheet.boxes, strict=True):
            where = {"sheet": str(page), "box": " ".join(map(str, box))}
            rows.append({"file_name": file_name, **common, "view": view, **where})
    return rows


def write_table(path: Path, records: Iterable[Record], columns: Sequence[str]) -> None:
    """Write the table under another name first: where it stands, the set is complete."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    unfinished.replace(path)


def contact_sheet(
    out: Path,
    *,
    families: Sequence[str] | None = None,
    index: int = 0,
    seed: int = 0,
    views: Sequence[str] = VIEWS,
    size: int = 180,
) -> Path:
    """Write a PNG with a row a family and a column a view, for looking at.

    Args:
        out: Path of the PNG; its folder exists.
        families: Keys of `FAMILIES`; None: all.
        index: Which design of each family.
        seed: Of the whole set.
        views: Columns.
        size: Pixels a side of each figure.

    Returns:
        `out`.
    """
    keys = list(FAMILIES) if families is None else list(families)
    title = 16
    page = np.full((len(keys) * (size + title), len(views) * size), 255, np.uint8)
    for row, key in enumerate(keys):
        design = make_design(key, index, seed)
        top = row * (size + title) + title
        for column, view in enumerate(views):
            figure = draw(design, view, size=size, seed=seed)
            page[top : top + size, column * size : (column + 1) * size] = figure
    image = Image.fromarray(page)
    pen = ImageDraw.Draw(image)
    for row, key in enumerate(keys):
        pen.text((4, row * (size + title) + 2), f"{key} {index}", fill=90)
    image.save(out)
    return out
