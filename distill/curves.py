"""How a training went, as one picture: loss and learning rate, and what validation found."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_retrieval.errors import ConfigError, MissingExtraError
from edge_retrieval.staging import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Columns = dict[str, list[float]]
"""Name -> one number a row, NaN where the cell is empty."""

# Okabe and Ito's colours, told apart by the colour-blind; marks tell them apart in grey.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, SOFT, LINE = "#1c1b19", "#6d6a64", "#dedbd4"
MAIN = (INK, "o", "-")
LEVELS = ((BLUE, "s", "-"), (ORANGE, "v", "--"), (GREEN, "^", ":"), (PURPLE, "D", "-."))
"""Of mAP, from the design up, in every panel."""
DOTS = 60
"""Lines of more points are drawn without marks."""
ACROSS = 3
"""Panels of schemes in a row."""


def draw_curves(metrics_csv: Path, out: Path) -> None:
    """Draw the metrics of a run.

    Above: the loss with the learning rate, and H-AP and mAP at design level, their best marked.
    Below, where the columns exist: mAP of each scheme at each level.

    Args:
        metrics_csv: `metrics.csv` of a run folder; cells may be empty.
        out: The PNG, written whole or not at all; its folder is made.

    Raises:
        ConfigError: `metrics_csv` is none, or has no row yet; `out` cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    columns = read_metrics(metrics_csv)
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingExtraError.of("drawing curves", "train") from error

    # Whatever the user's matplotlibrc says: no LaTeX, and "$" in a name is a letter.
    settings: Any = {"text.usetex": False, "text.parse_math": False, "font.family": "DejaVu Sans"}
    picture = io.BytesIO()
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in letters the font lacks
        figure = figure_of(columns, metrics_csv.absolute().parent.name)
        figure.savefig(picture, format="png")
    write_picture(out, picture.getvalue())


def figure_of(columns: Columns, title: str) -> Figure:
    """Return the picture, without pyplot: it belongs to nobody else and opens no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    schemes = _schemes(columns)
    below = math.ceil(len(schemes) / ACROSS)
    figure = NewFigure(figsize=(12, 4.6 + 3.3 * below), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_shortened(title, 80), x=0.012, ha="left", weight="bold", size=14, color=INK)
    above: Any = figure
    if below:
        parts: Any = figure.subfigures(2, 1, height_ratios=[4.2, 3.4 * below])
        above = parts[0]
        _draw_schemes(parts[1], schemes, columns["step"])
    left, right = above.subplots(1, 2)
    _draw_loss(left, columns)
    _draw_quality(right, columns)
    return figure


def read_metrics(path: Path) -> Columns:
    """Read a run's `metrics.csv`.

    Raises:
        ConfigError: It cannot be read, is another kind of file, or has no row yet.
    """
    hint = "give the metrics.csv of a run folder"
    try:
        with path.open(newline="", encoding="utf-8") as text:
            reader = csv.DictReader(text)
            rows = list(reader)
            names = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}", hint=hint) from error
    if not {"step", "loss"} <= set(names):
        raise ConfigError(f"{path}: no columns step and loss", hint=hint)
    if not rows:
        raise ConfigError(f"{path}: no epoch is in it yet", hint="train an epoch first")
    if any(None in row for row in rows):
        raise ConfigError(f"{path}: a row has more cells than columns", hint=hint)
    try:
        return {name: [float(row[name] or "nan") for row in rows] for name in names}
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", hint=hint) from error


def write_picture(out: Path, data: bytes) -> None:
    """Write a file that a person looks at, whole or not at all; its folder is made.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, data)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}", hint="choose another file"
        ) from error


def _schemes(columns: Columns) -> dict[str, dict[str, list[float]]]:
    """Return scheme -> level -> values of the columns "mAP SCHEME LEVEL", the finest level first.

    The columns stand coarse to fine; the finest is what the thickest line shall be of.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for name, values in reversed(columns.items()):
        words = name.split(" ", 1)
        if words[0] == "mAP" and len(words) == 2 and " " in words[1]:
            scheme, level = words[1].rsplit(" ", 1)
            found.setdefault(scheme, {})[level] = values
    return dict(reversed(found.items()))


def _draw_loss(axes: Axes, columns: Columns) -> None:
    steps = columns["step"]
    lines = _line(axes, steps, columns["loss"], "loss", MAIN, width=2.0)
    _dress(axes, steps, "Loss", "loss")
    if "lr" in columns:
        rate = axes.twinx()
        lines += _line(rate, steps, columns["lr"], "learning rate", (SOFT, "", "-"), width=0.9)
        rate.set_ylabel("learning rate", color=SOFT)
        rate.tick_params(colors=SOFT, length=0)
        rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        rate.set_ylim(bottom=0)
        for spine in rate.spines.values():
            spine.set_visible(False)
    _legend(axes, lines)


def _draw_quality(axes: Axes, columns: Columns) -> None:
    named = (("H-AP", "H-AP", MAIN), ("mAP", "mAP, design", LEVELS[0]))
    curves = [(columns[column], name, look) for column, name, look in named if column in columns]
    curves = [curve for curve in curves if _best(curve[0]) >= 0]
    top = max((values[_best(values)] for values, _, _ in curves), default=0.0)
    lines = []
    for values, name, look in curves:
        lines += _line(axes, columns["step"], values, name, look, width=2.0)
        above = values[_best(values)] == top
        _mark_best(axes, columns["step"], values, look[0], above=above)
    _dress(axes, columns["step"], "Validation", "H-AP, mAP: mean over the schemes")
    if lines:
        _legend(axes, lines)
    else:
        axes.text(0.5, 0.5, "not validated yet", transform=axes.transAxes, ha="center", color=SOFT)
        axes.set_yticks([])


def _draw_schemes(
    figure: Any, schemes: Mapping[str, Mapping[str, list[float]]], steps: Sequence[float]
) -> None:
    levels = list(dict.fromkeys(level for found in schemes.values() for level in found))
    looks = {level: LEVELS[number % len(LEVELS)] for number, level in enumerate(levels)}
    across = min(ACROSS, len(schemes))
    panels = figure.subplots(
        math.ceil(len(schemes) / across), across, sharey=True, squeeze=False
    ).ravel()
    lines: dict[str, Any] = {}
    for axes, (scheme, found) in zip(panels, schemes.items(), strict=False):
        for level, values in found.items():
            [lines[level]] = _line(axes, steps, values, level, looks[level], width=1.6)
        finest = next(iter(found))
        _mark_best(axes, steps, found[finest], looks[finest][0], above=True)
        _dress(axes, steps, _shortened(scheme, 30), "mAP")
    for axes in panels[len(schemes) :]:
        axes.set_visible(False)
    handles, names = list(lines.values()), [f"mAP, {level}" for level in lines]
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), frameon=False)


def _line(
    axes: Axes,
    steps: Sequence[float],
    values: Sequence[float],
    name: str,
    look: tuple[str, str, str],
    *,
    width: float,
) -> list[Any]:
    """Draw the points there are; epochs without validation leave no hole."""
    points = [(step, value) for step, value in zip(steps, values, strict=True) if value == value]
    color, mark, style = look
    if len(points) == 1:
        mark = mark or "o"
    elif len(points) > DOTS:
        mark = ""
    return axes.plot(
        [step for step, _ in points],
        [value for _, value in points],
        color=color,
        marker=mark,
        markersize=2 + 1.5 * width,
        linestyle=style,
        linewidth=width,
        label=name,
    )


def _best(values: Sequence[float]) -> int:
    """Return the place of the greatest finite number, -1 if there is none."""
    finite = [place for place, value in enumerate(values) if math.isfinite(value)]
    return max(finite, key=values.__getitem__, default=-1)


def _mark_best(
    axes: Axes, steps: Sequence[float], values: Sequence[float], color: str, *, above: bool
) -> None:
    place = _best(values)
    if place < 0:
        return
    point = (steps[place], values[place])
    axes.plot(*point, marker="o", markersize=11, markerfacecolor="none", color=color, mew=1.8)
    late = steps[place] > max(steps) / 2
    axes.annotate(
        f"best {values[place]:.3f}",
        point,
        xytext=(7 if late else -7, 10 if above else -10),
        textcoords="offset points",
        ha="right" if late else "left",
        va="bottom" if above else "top",
        color=color,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _dress(axes: Axes, steps: Sequence[float], title: str, unit: str) -> None:
    axes.set_title(title, loc="left", weight="bold", size=11, color=INK)
    axes.set_xlabel("optimizer step", color=SOFT)
    axes.set_ylabel(unit, color=SOFT)
    axes.margins(y=0.16)
    axes.set_xlim(0, max([1.0, *steps]) * 1.04)  # the same in every panel
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, length=0, labelleft=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)


def _shortened(text: str, length: int) -> str:
    """Cut a long name in the middle: long names differ at their ends."""
    half = length // 2
    return text if len(text) <= length else f"{text[: half - 1]}…{text[-half:]}"


def _legend(axes: Axes, lines: Sequence[Any]) -> None:
    """Stand beside the title, above the lines: it covers none."""
    axes.legend(
        handles=list(lines),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(lines),
        frameon=False,
        borderaxespad=0.2,
        labelcolor=INK,
    )
