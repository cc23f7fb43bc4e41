"""Is a register that workers made the one that a single machine makes, also if one is killed?

Question: are vectors, pictures, records, problems and the name of the contents the same, row for
row, when two workers of a Dask cluster cut and embed, and when one of them is killed midway?

    python benchmarks/scale_index.py path/to/uspto-multiview --made 5000 --views 4

For each source: one machine; a cluster of two worker processes on this machine; the same, with
kill -9 for one worker process once `--kill-after` shards are done. Sources are the one that is
named, and as many made designs as are asked for: outlines of random polygons, one a sheet, so that
there are many drawings and making them costs little. They say nothing about how well designs are
found. Times are those of a machine that does other things too: they tell that it works, not how
fast. Everything is saved after each run. Needs the extra `scale`.
Writes benchmarks/results/scale_index.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.indexing import index
from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.register import Register
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import DATABASE
from edge_retrieval.report import save_json
from edge_retrieval.scale import Spreading

RESULTS = Path(__file__).parent / "results"
WORKERS = 2
SIDE = 160
TABLES = ("designs", "nodes", "sheets", "figures", "problems")
T = TypeVar("T")


def draw(folder: Path, designs: int, views: int) -> None:
    """Make designs of `views` drawings each: outlines of a polygon, turned a little each time."""
    for number in range(designs):
        place = folder / f"{number % 40:02d}" / f"M{number:06d}"
        place.mkdir(parents=True)
        shape = np.random.default_rng(number)
        angles = np.sort(shape.uniform(0, 2 * np.pi, 9))
        radii = shape.uniform(0.25, 1.0, 9) * SIDE * 0.4
        for view in range(views):
            page = Image.new("L", (SIDE, SIDE), 255)
            turned = angles + view * np.pi / 7
            points = [
                (float(SIDE / 2 + r * np.cos(a)), float(SIDE / 2 + r * np.sin(a)))
                for r, a in zip(radii, turned, strict=True)
            ]
            pen = ImageDraw.Draw(page)
            pen.polygon(points, outline=0, width=3)
            pen.line([points[0], points[4]], fill=0, width=2)
            page.save(place / f"{view + 1}.png")


def told(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Say now and then how far it is."""
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"  {description} {done} of {total or '?'}", flush=True)
        yield item


class Killer(threading.Thread):
    """Kills one worker process once so many shards are done.

    Attributes:
        killed: Its process id, and how many shards were done; None so far.
    """

    def __init__(self, work: Path, after: int) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._after = after
        self._over = threading.Event()
        self.killed: dict[str, int] | None = None

    def run(self) -> None:
        """Watch the work folder."""
        import psutil

        while not self._over.wait(0.05):
            done = len(list(self._work.glob("done-*.shard")))
            if done < self._after:
                continue
            for process in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(process.cmdline()):
                    os.kill(process.pid, signal.SIGKILL)
                    self.killed = {"process": process.pid, "shards_done": done}
                    return

    def stop(self) -> None:
        """End watching."""
        self._over.set()
        self.join()


def run(
    source: Path, out: Path, bundle: Path, shard: int | None, kill_after: int | None
) -> dict[str, Any]:
    """Make a register; return what it took and what was added."""
    work = out.with_name(f"{out.name}.work")
    spread = None if shard is None else Spreading("dask", work, workers=WORKERS, shard=shard)
    began = time.perf_counter()
    with ExitStack() as stack:
        killer = None
        if kill_after is not None:
            killer = Killer(work, kill_after)
            killer.start()
            stack.callback(killer.stop)
        result = index(source, out, bundle=bundle, track=told, spread=spread)
    return {
        "seconds": time.perf_counter() - began,
        "designs": result.designs_added,
        "figures": result.figures_added,
        "sheets": result.sheets_read,
        "problems": len(result.problems),
        "notes": len(result.notes),
        "killed": killer.killed if killer else None,
        "work_folder_left": work.exists(),
    }


def same(one: Path, other: Path) -> dict[str, bool]:
    """Compare two registers, row for row."""
    with Register.open(one) as first, Register.open(other) as second:
        answers = {
            "vectors_bit_for_bit": first.vectors.tobytes() == second.vectors.tobytes(),
            "contents": first.contents == second.contents,
            "snapshot": first.snapshot == second.snapshot,
            "problems": first.problems() == second.problems(),
            "verified": first.verify() == second.verify() == [],
        }
    pictures = [folder / "pictures-0.bin" for folder in (one, other)]
    answers["pictures"] = pictures[0].read_bytes() == pictures[1].read_bytes()
    rows = []
    for folder in (one, other):
        with closing(Database.open(folder / DATABASE)) as database:
            rows.append([database.all(f"SELECT * FROM {table}") for table in TABLES])
    answers["records"] = rows[0] == rows[1]
    return answers


def compared(source: Path, name: str, args: argparse.Namespace, save: Any) -> None:
    """Make the registers of a source, compare them, save each."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ways: list[tuple[str, int | None, int | None]] = [
            ("one machine", None, None),
            ("two workers", args.shard, None),
            ("two workers, one killed midway", args.shard, args.kill_after),
        ]
        for number, (way, shard, kill_after) in enumerate(ways):
            out = root / f"register-{number}"
            took = run(source, out, args.bundle, shard, kill_after)
            if kill_after is not None and took["killed"] is None:
                raise SystemExit(f"{name}: it ended before a worker was killed: lower --kill-after")
            equal = same(root / "register-0", out) if number else None
            save({"source": name, "way": way, "shard": shard, **took, "same": equal})
            print(name, way, f"{took['seconds']:.0f} s", equal, flush=True)
            if number:
                shutil.rmtree(out)


def main() -> None:
    """Compare for each source; save after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="what edge-ret index takes")
    parser.add_argument("--made", type=int, default=5000, help="made designs")
    parser.add_argument("--views", type=int, default=4, help="drawings of each")
    parser.add_argument("--shard", type=int, default=10, help="designs a worker is given at once")
    parser.add_argument("--kill-after", type=int, default=2, help="shards")
    parser.add_argument("--bundle", type=Path, default=default_bundle_path())
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "scale_index.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def save(row: dict[str, Any]) -> None:
        rows.append(row)
        about = {
            "question": "is the register of workers that of one machine, row for row?",
            "engine": f"dask, a cluster of {WORKERS} worker processes on this machine",
            "bundle": Bundle.open(args.bundle).name,
        }
        facts = {"cores": available_cores(), "host": host(), "versions": _versions()}
        save_json(args.out, {**about, "rows": rows, **facts, "created": now()})

    compared(args.source, args.source.name, args, save)
    if args.made:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "made"
            draw(made, args.made, args.views)
            print(f"{args.made} designs drawn", flush=True)
            name = f"{args.made} made designs x {args.views} drawings, random polygons, {SIDE} px"
            compared(made, name, args, save)


def _versions() -> dict[str, Any]:
    import distributed

    return versions() | {"distributed": distributed.__version__}


if __name__ == "__main__":
    main()
