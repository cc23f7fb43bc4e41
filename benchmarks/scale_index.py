"""Is a register that workers made the one that a single machine makes, also if one is killed?

Question: are vectors, pictures, records, problems and the name of the contents the same, row for
row, when two workers of a Dask cluster cut and embed, and when one of them is killed midway?

    edge-ret data synth made --designs 5000 --views 4 --size 256 --seed 20
    python benchmarks/scale_index.py path/to/uspto-multiview made

For each source: one machine; a cluster of two worker processes on this machine; the same, with
kill -9 for one worker process once half of the shards are done. Times are those of a machine that
does other things too: they tell that it works, not how fast. Everything is saved after each run.
Needs the extra `scale`.
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
TABLES = ("designs", "nodes", "sheets", "figures", "problems")
T = TypeVar("T")


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


def compared(source: Path, args: argparse.Namespace, save: Any) -> None:
    """Make the registers of a source, compare them, save each."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first = root / "one"
        took = run(source, first, args.bundle, None, None)
        save({"source": source.name, "way": "one machine", "shard": None, **took, "same": None})
        shards = -(-took["designs"] // args.shard)
        for way, kill_after in (
            ("two workers", None),
            ("two workers, one killed midway", max(1, shards // 2)),
        ):
            out = root / "workers"
            took = run(source, out, args.bundle, args.shard, kill_after)
            if kill_after is not None and took["killed"] is None:
                raise SystemExit(f"{source}: it ended before a worker was killed")
            equal = same(first, out)
            save({"source": source.name, "way": way, "shard": args.shard, **took, "same": equal})
            print(source.name, way, f"{took['seconds']:.0f} s", equal, flush=True)
            shutil.rmtree(out)


def main() -> None:
    """Compare for each source; save after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sources", type=Path, nargs="+", help="what edge-ret index takes")
    parser.add_argument("--shard", type=int, default=10, help="designs a worker is given at once")
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

    for source in args.sources:
        compared(source, args, save)


def _versions() -> dict[str, Any]:
    import distributed

    return versions() | {"distributed": distributed.__version__}


if __name__ == "__main__":
    main()
