"""Whole collections of drawings of LDraw parts on disk."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distill.ldraw.archive import open_archive
from distill.ldraw.choice import Chooser
from distill.ldraw.drawing import draw_part, style_of
from distill.ldraw.parts import Library, Part, Shape
from distill.ldraw.surface import build_surface
from distill.synthetic.dataset import Record, check_request, write_table
from distill.synthetic.dice import Dice, generator
from distill.synthetic.raster import grey_png
from distill.synthetic.strokes import VIEWS
from edge_retrieval.errors import SourceError
from edge_retrieval.progress import Track, silent
from edge_retrieval.sources.design import Problem

COLUMNS = ("file_name", "design", "class", "subclass", "title", "view")

ATTRIBUTION = """\
These drawings were made from parts of the LDraw Parts Library, https://www.ldraw.org.

The LDraw Parts Library is by its authors and LDraw.org, under the Creative Commons Attribution
License 2.0, https://creativecommons.org/licenses/by/2.0/. Changes: the parts are shown as line
drawings, with hidden lines removed. Who passes these drawings on must name the LDraw Parts Library
and this licence.

LEGO is a trademark of the LEGO Group, which does not sponsor or endorse LDraw or these drawings.
"""

LICENCES = ("careadme.txt", "calicense.txt")
"""Files of the archive that go with the drawings, if it holds them."""


@dataclass(frozen=True)
class DrawnParts:
    """What `generate_parts` wrote.

    Attributes:
        folder: Holds `metadata.csv`, `ATTRIBUTION.txt` and `sheets/`.
        designs: How many parts.
        figures: How many figures; rows of the metadata, and image files.
        passed_over: Reason -> parts that were looked at and not drawn.
        problems: Parts that cannot be read, with the file that is missing or broken.
    """

    folder: Path
    designs: int
    figures: int
    passed_over: Mapping[str, int]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Plan:
    """Everything that the drawings of a part hang on, besides the part."""

    folder: Path
    seed: int
    views: int
    size: int
    restyled: float


def generate_parts(
    archive: Path,
    out: Path,
    *,
    designs: int,
    seed: int,
    views: int = 6,
    size: int = 512,
    restyled: float = 0.0,
    workers: int = 1,
    track: Track = silent,
) -> DrawnParts:
    """Write a collection of drawings of LDraw parts that the `table` source reads.

    Labels are category > title group > part: a scheme of its own. The same parts are chosen for
    every seed, and fewer are the beginning of more. The table is written last: where it stands,
    the collection is complete.

    Args:
        archive: A tar archive of an LDraw library, compressed or not.
        out: A folder that does not exist yet or is empty.
        designs: How many parts; fewer are drawn if the archive has no more.
        seed: Styles and views hang on it.
        views: Figures a part, 1 to 8; the first is always a perspective.
        size: Pixels a side of a figure.
        restyled: Share of parts whose every figure is drawn by another hand.
        workers: Processes.
        track: Shows progress.

    Raises:
        ConfigError: A number is out of range, or the folder is not empty.
        SourceError: The archive cannot be read, or no part of it can be drawn.
    """
    check_request(out, designs, views, size, workers, restyled)
    opened = open_archive(archive)
    chooser = Chooser(Library(opened))
    chosen = chooser.choose(designs)
    first = next(chosen, None)
    if first is None:
        reason = chooser.problems[0].reason if chooser.problems else "all are pieces or too plain"
        raise SourceError(f"{archive}: no part can be drawn: {reason}", hint="take another archive")
    plan = _Plan(out, seed, views, size, restyled)
    (out / "sheets").mkdir(parents=True, exist_ok=True)
    (out / "ATTRIBUTION.txt").write_text(ATTRIBUTION, encoding="utf-8")
    for name in LICENCES:
        if name in opened.files:
            (out / name).write_bytes(opened.files[name])
    records: list[Record] = []
    drawn = 0
    rows_of_parts = _write_all(plan, itertools.chain([first], chosen), workers)
    for rows in track(rows_of_parts, "Drawing parts", designs):
        records += rows
        drawn += 1
    write_table(out / "metadata.csv", records, COLUMNS)
    return DrawnParts(out, drawn, len(records), chooser.passed_over, tuple(chooser.problems))


def _write_all(
    plan: _Plan, parts: Iterable[tuple[Part, Shape]], workers: int
) -> Iterator[list[Record]]:
    work = partial(_write_part, plan)
    if workers == 1:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("spawn")  # the same on every system
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: deque[Future[list[Record]]] = deque()
        for item in parts:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * workers:  # never more shapes in memory than are soon drawn
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_part(plan: _Plan, item: tuple[Part, Shape]) -> list[Record]:
    """Draw a part, write its files and return its rows of the table."""
    part, shape = item
    surface = build_surface(shape)
    name = f"LDRAW-{part.name}"
    common = {
        "design": name,
        "class": part.category,
        "subclass": part.group,
        "title": part.title,
    }
    own = style_of(part.name, plan.seed)
    dice = Dice.of(plan.seed, "ldraw", part.name, "restyled")
    many_hands = plan.restyled > 0 and dice.uniform(0, 1) < plan.restyled
    rows = []
    for figure, view in enumerate(_choose_views(part, plan), 1):
        style = style_of(part.name, plan.seed, view) if many_hands else own
        pixels = draw_part(surface, view, style, part=part.name, size=plan.size, seed=plan.seed)
        file_name = f"sheets/{name}-{figure}.png"
        (plan.folder / file_name).write_bytes(grey_png(pixels))
        rows.append({"file_name": file_name, **common, "view": view})
    return rows


def _choose_views(part: Part, plan: _Plan) -> list[str]:
    """Return the perspective and others, in the usual order; fewer are a part of more."""
    rng = generator(plan.seed, "ldraw", part.name, "views")
    others = rng.permutation(len(VIEWS) - 1)[: plan.views - 1] + 1
    return [VIEWS[0], *(VIEWS[place] for place in sorted(others.tolist()))]
