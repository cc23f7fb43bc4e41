"""Quality against milliseconds, one point an encoder.

python benchmarks/model_plot.py     # benchmarks/results/model.json -> model.png
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COLOURS = {
    "plain": "#7a7a7a",
    "untrained": "#b39b7d",
    "imagenet": "#3b6ea8",
    "teacher": "#8a5fa8",
    "ours": "#c0392b",
}
SAID = {
    "plain": "no network",
    "untrained": "untrained network",
    "imagenet": "ImageNet features",
    "teacher": "our teacher",
    "ours": "ours",
}
OFFSETS = [
    (10, 0), (-10, 0), (0, 12), (0, -12), (9, 10), (9, -10), (-9, 10), (-9, -10),
    (12, 20), (12, -20), (-12, 20), (-12, -20), (0, 26), (0, -26), (16, 32), (16, -32),
    (-16, 32), (-16, -32), (0, 42), (0, -42),
]  # fmt: skip
"""Places of a label beside its point, in points, the best first."""


def draw(result: Mapping[str, Any], file: Path) -> int:
    """Write the picture; return how many labels cover another, a point or an edge."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(figsize=(8.6, 5.0), dpi=130)
    labels: list[tuple[str, float, float, str]] = []
    bars = []
    for row in result["rows"]:
        if row["prefix"] is not None:
            continue
        found = row["galleries"]["test"]["patent mAP"]
        x = statistics.median(result["seconds"][row["encoder"]]["cpu"]) * 1e3
        y, low, high = found["value"], found["low"], found["high"]
        colour = COLOURS[row["group"]]
        axes.errorbar(
            x, y, yerr=[[y - low], [high - y]], fmt="o", ms=6, color=colour, elinewidth=0.9,
            ecolor=colour + "66", capsize=2,
        )  # fmt: skip
        bars.append((x, y, low, high))
        name = _short(row["encoder"])
        if name not in [label for label, *_ in labels]:  # of some seeds one is named
            labels.append((name, x, y, colour))
    axes.set_xscale("log")
    xs = [x for _, x, *_ in labels]
    axes.set_xlim(min(xs) / 2, max(xs) * 2.2)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("ms a figure, processor time on one thread (logarithmic)")
    axes.set_ylabel("patent mAP")
    about = result["galleries"]["test"]
    axes.set_title(
        f"{about['designs']} patents never trained on, {about['figures']} figures; bars: 95 %",
        fontsize=10, loc="left",
    )  # fmt: skip
    axes.grid(visible=True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for group in dict.fromkeys(row["group"] for row in result["rows"]):
        axes.plot([], [], "o", color=COLOURS[group], label=SAID[group])
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    crowded = _place(figure, axes, labels, bars)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, facecolor="white")
    pyplot.close(figure)
    return crowded


def _place(
    figure: Any,
    axes: Any,
    labels: Sequence[tuple[str, float, float, str]],
    bars: Sequence[tuple[float, float, float, float]],
) -> int:
    """Write each label where it covers least: no other label, no point, no edge, hardly a bar."""
    from matplotlib.transforms import Bbox

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    taken = [axes.get_legend().get_window_extent(renderer)]
    crowded = 0
    place = axes.transData.transform
    points = [place((x, y)) for x, y, *_ in bars]
    lines = [Bbox([place((x, low)), place((x, high))]) for x, _, low, high in bars]
    for name, x, y, colour in sorted(labels, key=lambda one: -one[2]):
        best = None
        for offset in OFFSETS:
            side = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
            text = axes.annotate(
                name, (x, y), xytext=offset, textcoords="offset points", fontsize=7.5,
                ha=side, va="center", color=colour,
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            cost = sum(1.0 for other in taken if box.overlaps(other))
            cost += sum(0.5 for point in points if box.expanded(1.04, 1.2).contains(*point))
            cost += sum(0.1 for line in lines if box.overlaps(line))
            cost += 0.0 if frame.containsx(box.x0) and frame.containsx(box.x1) else 2.0
            cost += 0.0 if frame.containsy(box.y0) and frame.containsy(box.y1) else 2.0
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
            if best[0] == 0:
                break
        assert best is not None
        taken.append(best[2])
        crowded += best[0] >= 0.5
    return crowded


def _short(name: str) -> str:
    """Return the name without its seed, and without what its colour says."""
    return name.partition(", seed ")[0].replace(", ImageNet", "").replace("teacher: ", "")


if __name__ == "__main__":
    draw(json.loads((RESULTS / "model.json").read_text("utf-8")), RESULTS / "model.png")
