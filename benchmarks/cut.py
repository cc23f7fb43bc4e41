"""Does the cut agree with known boxes and with what the office states, and how long does it take?

Question: of sheets whose figures were boxed, on how many does `cut_sheet`, given no boxes, find the
same number, and how well do the boxes agree? Of grants, does it find as many figures as the text
states? What does a page cost in processor time, from bytes to masters?

    python benchmarks/cut.py path/to/data

DATA holds `uspto-grants`, `uspto-multiview` and `uspto-2007`, any of which may be missing. The
known boxes were made by an automatic cut and looked at; some are wrong, so full agreement is not
to be had.
Writes benchmarks/results/cut.json; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_retrieval.drawing import cut_sheet
from edge_retrieval.drawing.decode import read_pages
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.sources import Box, Design, open_source

RESULTS = Path(__file__).parent / "results"
BOXED = ("uspto-multiview", "uspto-2007")
GRANTS = "uspto-grants"
ROUNDS = 3
"""How often each grant sheet is timed."""


def designs_of(folder: Path, kind: str, problems: list[str]) -> Iterator[Design]:
    """Yield the designs of a source; problems are added to the list."""
    for item in open_source(folder, kind=kind):
        if isinstance(item, Design):
            yield item
        else:
            problems.append(f"{Path(item.where).name}: {item.reason}")


def overlap(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return common / (both - common)


def match(known: Sequence[Box], found: Sequence[Box]) -> list[float]:
    """Pair boxes one to one, best pairs first; the overlap of each known box, 0 if it has none."""
    table = np.array([[overlap(a, b) for b in found] for a in known])  # (known, found)
    scores = [0.0] * len(known)
    for _ in range(min(table.shape)):
        row, column = divmod(int(table.argmax()), table.shape[1])
        scores[row] = max(float(table[row, column]), 0.0)
        table[row, :], table[:, column] = -1, -1
    return scores


def boxed(folder: Path) -> dict[str, Any]:
    """Compare with known boxes, sheet by sheet."""
    sheets: list[dict[str, Any]] = []
    problems: list[str] = []
    for design in designs_of(folder, "table", problems):
        for sheet in design.sheets:
            known = sheet.boxes or ()
            data = sheet.read()
            began = time.process_time()
            try:
                figures = cut_sheet(data, where=sheet.where)
            except EdgeRetrievalError as error:
                sheets.append({"sheet": sheet.name, "known": len(known), "error": str(error)})
                continue
            row = {"sheet": sheet.name, "known": len(known), "found": len(figures)}
            row["cpu_seconds"] = time.process_time() - began
            row["iou"] = [round(v, 4) for v in match(known, [f.box for f in figures])]
            row["turned"] = figures[0].turned
            sheets.append(row)
    equal = [row["known"] == row.get("found") for row in sheets]
    overlaps = [v for row in sheets for v in row.get("iou", [0.0] * row["known"])]
    return {
        "sheets": len(sheets),
        "figures": len(overlaps),
        "unread": sum("error" in row for row in sheets),
        "equal_count": float(np.mean(equal)),
        "mean_iou": float(np.mean(overlaps)),
        "iou_at_least_0.9": float(np.mean(np.array(overlaps) >= 0.9)),
        "cpu_seconds_median": median(row["cpu_seconds"] for row in sheets if "found" in row),
        "problems": problems,
        "rows": sheets,
    }


def grants(folder: Path) -> dict[str, Any]:
    """Compare with the number of figures that each grant states; time decode and the whole."""
    rows: list[dict[str, Any]] = []
    decode: list[float] = []
    whole: list[float] = []
    problems: list[str] = []
    for design in designs_of(folder, "uspto", problems):
        found = 0
        for sheet in design.sheets:
            if sheet.role == "front":
                continue
            data = sheet.read()
            found += len(cut_sheet(data, where=sheet.where))
            for _ in range(ROUNDS):
                began = time.process_time()
                list(read_pages(data, where=sheet.where))
                between = time.process_time()
                cut_sheet(data, where=sheet.where)
                decode.append(between - began)
                whole.append(time.process_time() - between)
        rows.append({"design": design.number, "stated": design.stated_figures, "found": found})
    return {
        "problems": problems,
        "rows": rows,
        "decode_cpu_seconds": decode,
        "cut_cpu_seconds": whole,
        "decode_cpu_seconds_median": median(decode),
        "cut_cpu_seconds_median": median(whole),
    }


def median(samples: Iterator[float] | Sequence[float]) -> float:
    """Median of samples."""
    return float(np.median(list(samples)))


def summary(result: dict[str, Any]) -> dict[str, str]:
    """Headlines, as they stand in the README."""
    lines: dict[str, str] = {}
    if GRANTS in result:
        part = result[GRANTS]
        found = ", ".join(f"{row['found']} of {row['stated']}" for row in part["rows"])
        lines["figures found of those the grant states"] = found
        lines["CPU for a TIFF G4 page, bytes to masters"] = (
            f"{part['cut_cpu_seconds_median'] * 1e3:.0f} ms, of it decode "
            f"{part['decode_cpu_seconds_median'] * 1e3:.0f} ms "
            f"(median, n = {len(part['cut_cpu_seconds'])})"
        )
    for name in BOXED:
        if name in result:
            part = result[name]
            lines[f"{name}: sheets with the same number of figures as known boxes"] = (
                f"{part['equal_count']:.1%} of {part['sheets']}"
            )
            lines[f"{name}: mean overlap (IoU) with known boxes"] = (
                f"{part['mean_iou']:.3f} over {part['figures']} figures"
            )
            lines[f"{name}: CPU for a sheet"] = (
                f"{part['cpu_seconds_median'] * 1e3:.0f} ms (median, n = {part['sheets']})"
            )
    return lines


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, help="folder with uspto-grants, uspto-multiview, ...")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "cut.json")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"created": now(), "host": host(), "versions": versions()}
    if (arguments.data / GRANTS).is_dir():
        result[GRANTS] = grants(arguments.data / GRANTS)
    for name in BOXED:
        if (arguments.data / name).is_dir():
            result[name] = boxed(arguments.data / name)
    result["summary"] = summary(result)
    save_json(arguments.out, result)
    for key, value in result["summary"].items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
