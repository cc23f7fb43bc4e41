"""What does a page cost, from a file's bytes to a model's input, beside Pillow used plainly?

Question: processor milliseconds for a page at 300 dpi, as G4 TIFF, as 1-bit PNG and as 8-bit PNG:
ours (`whole_sheet`, then `fit`) beside "open, convert to L, find the ink box with numpy, crop,
Lanczos to the same square". The plain way stands twice: with the ink box by `numpy.nonzero`, as it
is mostly written, and by `any` along rows and columns, as a careful hand would. Also, how alike are
the embeddings: to those of the plain way, and to those of the same page reduced at once, at full
resolution, by the power mean that the bundle's preprocessing asks for (ours differs from Lanczos on
purpose: thin strokes stay). And the peak memory of a process that reads a page of 50 megapixels.

    python benchmarks/decoding.py path/to/data --rounds 5 --pages 40

DATA holds `uspto-grants` (G4 TIFF as the office publishes it, cropped) and `uspto-multiview` (1-bit
PNG, cropped), from which pages are made anew as each kind of file: as they are, and laid on a sheet
of 2550 x 3300 pixels. Contestants in turn, in one process; the pages of a round in another order.
Writes benchmarks/results/decoding.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing, fit, whole_sheet
from edge_retrieval.drawing.fit import MARGIN, POWER
from edge_retrieval.encoder import load_encoder
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
MODEL = Path(__file__).parents[1] / "models" / "small"
LETTER = (2550, 3300)
BIG = (6250, 8000)
FILES: dict[str, Callable[[Image.Image], bytes]] = {
    "TIFF G4": lambda page: encoded(page, "TIFF", compression="group4"),
    "PNG 1-bit": lambda page: encoded(page, "PNG"),
    "PNG 8-bit": lambda page: encoded(page.convert("L"), "PNG"),
}
CHILD = """
import sys
from edge_retrieval.drawing import Preprocessing, fit, whole_sheet
data = open(sys.argv[1], "rb").read()
if sys.argv[2] == "read": fit(whole_sheet(data, where="page"), Preprocessing())
told = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(told["VmHWM"].split()[0]) * 1024)  # ru_maxrss would tell of the parent as well
"""
Way = Callable[[bytes, Preprocessing], NDArray[np.float32]]


def encoded(page: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file of this kind."""
    out = io.BytesIO()
    page.save(out, kind, **options)
    return out.getvalue()


def ours(data: bytes, settings: Preprocessing) -> NDArray[np.float32]:
    """Decode to model input as the program does."""
    return fit(whole_sheet(data, where="page"), settings)


def by_nonzero(data: bytes, settings: Preprocessing) -> NDArray[np.float32]:
    """Decode plainly; the ink box by `numpy.nonzero`."""
    image = Image.open(io.BytesIO(data)).convert("L")
    rows, columns = np.nonzero(np.asarray(image) < 128)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return squared(image.crop(tuple(map(int, box))), settings)


def by_any(data: bytes, settings: Preprocessing) -> NDArray[np.float32]:
    """Decode plainly; the ink box by `any` along rows and columns."""
    image = Image.open(io.BytesIO(data)).convert("L")
    ink = np.asarray(image) < 128
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return squared(image.crop(tuple(map(int, box))), settings)


def squared(crop: Image.Image, settings: Preprocessing) -> NDArray[np.float32]:
    """Lanczos to the square that `fit` makes."""
    small = crop.resize(inner_size(crop.size, settings), Image.Resampling.LANCZOS)
    return normalised(np.asarray(small), settings)


def inner_size(size: tuple[int, int], settings: Preprocessing) -> tuple[int, int]:
    """Return (width, height) of a figure in its square."""
    side = settings.size - 2 * max(1, round(settings.size * MARGIN))
    return (max(1, round(size[0] * side / max(size))), max(1, round(size[1] * side / max(size))))


def normalised(small: NDArray[Any], settings: Preprocessing) -> NDArray[np.float32]:
    """Centre in a square of paper; scale as the bundle asks."""
    square = np.full((settings.size, settings.size), 255, np.float32)
    top, left = ((settings.size - n) // 2 for n in small.shape)
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    plane = (square / np.float32(255) - np.float32(settings.mean)) / np.float32(settings.std)
    return np.repeat(plane[None], settings.channels, axis=0)


def at_once(data: bytes, settings: Preprocessing) -> NDArray[np.float32]:
    """Reduce the whole page in one resize by the power mean of its ink: slow, nothing rounded."""
    grey = np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32)
    ink = 255 - grey
    rows, columns = np.flatnonzero((ink > 127).any(1)), np.flatnonzero((ink > 127).any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    powers = Image.fromarray((ink / 255) ** POWER)
    mean = powers.resize(inner_size(powers.size, settings), Image.Resampling.HAMMING)
    return normalised(255 - 255 * np.clip(mean, 0, 1) ** (1 / POWER), settings)


WAYS: dict[str, Way] = {"ours": ours, "by_nonzero": by_nonzero, "by_any": by_any}


def pages_of(data: Path, count: int) -> dict[str, list[Image.Image]]:
    """Return grant pages and an even choice of multi-view sheets, cropped and on whole sheets."""
    grants = sorted(path for path in (data / "uspto-grants").rglob("*.TIF"))
    sheets = sorted((data / "uspto-multiview" / "sheets").glob("*.png"))
    chosen = sheets[:: max(1, len(sheets) // count)][:count]
    cropped = [loaded(path) for path in [*grants, *chosen]]
    return {"as published, cropped": cropped, "on 2550 x 3300": [laid(page) for page in cropped]}


def loaded(path: Path) -> Image.Image:
    """Return a page of black and white."""
    with Image.open(path) as image:
        return image.convert("1")


def laid(page: Image.Image) -> Image.Image:
    """Lay a page in the middle of a whole sheet of paper."""
    sheet = Image.new("1", LETTER, 1)
    sheet.paste(page, ((LETTER[0] - page.width) // 2, (LETTER[1] - page.height) // 2))
    return sheet


def timed(pages: list[bytes], settings: Preprocessing, rounds: int) -> dict[str, Any]:
    """Time every way on every page, in turn; processor seconds, a list a page."""
    samples: dict[str, list[list[float]]] = {name: [[] for _ in pages] for name in WAYS}
    for number in range(rounds):
        for page in np.random.default_rng(number).permutation(len(pages)):
            for name in list(WAYS)[:: -1 if number % 2 else 1]:
                began = time.process_time()
                WAYS[name](pages[page], settings)
                samples[name][page].append(time.process_time() - began)
    medians = {name: np.median(rows, axis=1) for name, rows in samples.items()}
    return {
        "cpu_seconds": samples,
        "median": {name: float(np.median(values)) for name, values in medians.items()},
        "speed": {
            name: float(np.median(values / medians["ours"])) for name, values in medians.items()
        },
    }


def likeness(pages: list[bytes], bundle: Bundle) -> dict[str, list[float]]:
    """Return the cosine of each page's embedding with that of two references."""
    encoder, settings = load_encoder(bundle), bundle.preprocessing
    rows = {
        name: np.concatenate([encoder.embed(way(page, settings)[None]) for page in pages])
        for name, way in {"ours": ours, "Lanczos": by_any, "power mean": at_once}.items()
    }
    return {name: (rows["ours"] * rows[name]).sum(1).tolist() for name in ("Lanczos", "power mean")}


def peaks() -> dict[str, dict[str, int]]:
    """Return the peak memory in bytes of a process that reads a page of 50 megapixels."""
    page = Image.new("L", BIG, 255)
    pen = ImageDraw.Draw(page)
    for i in range(40):
        pen.ellipse((300 + 50 * i, 400 + 40 * i, 5800 - 20 * i, 7600 - 60 * i), outline=0, width=6)
    scan = np.asarray(page).copy()
    scan[::7] = scan[::7] * 0.9
    grey = Image.fromarray(scan)
    kinds = {
        **{name: make(page.convert("1")) for name, make in FILES.items()},
        "PNG of greys": encoded(grey, "PNG"),
        "JPEG": encoded(grey.convert("RGB"), "JPEG", quality=85),
        "PNG in colour": encoded(grey.convert("RGB"), "PNG"),
    }
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as work:
        for name, data in kinds.items():
            path = Path(work) / "page"
            path.write_bytes(data)
            found[name] = {
                what: int(
                    subprocess.run(
                        [sys.executable, "-c", CHILD, str(path), what],
                        capture_output=True, check=True, text=True,
                    ).stdout
                )
                for what in ("nothing", "read")
            }  # fmt: skip
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="folder with uspto-grants and uspto-multiview")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=40, help="of uspto-multiview")
    parser.add_argument("--bundle", type=Path, default=MODEL)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "decoding.json")
    args = parser.parse_args()
    bundle = Bundle.open(args.bundle)
    rows = []
    for where, pages in pages_of(args.data, args.pages).items():
        for kind, make in FILES.items():
            files = [make(page) for page in pages]
            row: dict[str, Any] = {"pages": where, "file": kind, "count": len(files)}
            row |= timed(files, bundle.preprocessing, args.rounds)
            if kind == "PNG 1-bit":  # the pictures are the same whatever the file: a test says so
                row["cosine"] = likeness(files, bundle)
            rows.append(row)
            told = ", ".join(
                f"{name} {value * 1e3:.1f} ms" for name, value in row["median"].items()
            )
            print(f"{where}, {kind}: {told}; {row['speed']}", flush=True)
    result = {
        "question": "processor time from a file's bytes to a model's input",
        "bundle": bundle.name,
        "size": bundle.preprocessing.size,
        "rows": rows,
        "peak_memory_of_50_megapixels": peaks(),
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    for row in rows:
        for name, values in row.get("cosine", {}).items():
            low, least = np.quantile(values, 0.05), min(values)
            print(f"{row['pages']}: cosine to {name}: median {np.median(values):.4f}, "
                  f"5 % {low:.4f}, least {least:.4f}")  # fmt: skip
    print(result["peak_memory_of_50_megapixels"])
    save_json(args.out, result)


if __name__ == "__main__":
    main()
