"""Does a process that searches and adds all day hold more memory, or more files, in the evening?

Question: one process with a `Session` makes 10,000 searches and 2,000 adds, with removals,
refreshes and compactions among them, and the register as large at the end as at the beginning. Are
memory, open files and mapped files flat over the last half?

    python benchmarks/long_run.py --seed 1 --searches 10000 --adds 2000

Drawings and network are small: what leaks leaks once an operation. Every query is another drawing,
so that what is remembered fills up; caches of search are made and used, however small the register.
Writes benchmarks/results/long_run.json, and ends with 1 if memory or files grow.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.crashes import let_caches_pay  # noqa: E402
from edge_retrieval import Filters, Session  # noqa: E402
from edge_retrieval.bench.child import held  # noqa: E402
from edge_retrieval.evidence import to_csv, to_html, to_json  # noqa: E402
from edge_retrieval.preparing import prepare  # noqa: E402
from edge_retrieval.register import Register  # noqa: E402
from edge_retrieval.sources.design import Design  # noqa: E402
from tests import fakes  # noqa: E402

RESULTS = Path(__file__).parent / "results"
HELD = 160  # designs that the register holds, about
SAMPLES = 120
COMPACT_EVERY, PAGE_EVERY = 100, 25  # adds
GROWTH = 0.02
"""Of memory, over the last half, at most: what an allocator rounds."""


def design(number: int) -> Design:
    """Return a design with one figure that no other has."""
    sheet = fakes.sheet(fakes.drawing(number, side=48), f"{number}.png", single=True)
    return fakes.design(number, [sheet], fakes.CLASSES[number % len(fakes.CLASSES)])


def counts() -> dict[str, int]:
    """Return what this process holds."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return {
        "resident": held()["rss"],
        "handles": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "mapped": sum("/register/" in line for line in maps),
        "objects": len(gc.get_objects()),
    }


def asked(session: Session, rng: np.random.Generator, number: int) -> None:
    """Search once, in one of many ways."""
    drawing = fakes.drawing(10_000_000 + number, side=48)
    way = number % 8
    filters = None
    if way == 1:
        filters = Filters(classes=[str(rng.choice(["06", "07-03", "12"]))])
    if way == 2:
        living = session.register.columns
        filters = Filters(not_designs=[living.number(int(np.flatnonzero(living.alive)[0]))])
    drawings: list[bytes] = [drawing] * (20 if way == 3 and number % 80 == 3 else 1)
    results = session.search(
        drawings, k=10, filters=filters, exact=way == 4, cut=way == 5, exclude_self=way == 6
    )
    if number % (5 * PAGE_EVERY) == 0:
        to_html(results, register=session.register)
        to_csv(results, register=session.register)
        to_json(results, register=session.register)


def working(folder: Path, searches: int, adds: int, seed: int) -> Iterator[Counter[str]]:
    """Search, add, remove, refresh and compact; yield what was done so far after each add."""
    rng = np.random.default_rng([seed, 7])
    done: Counter[str] = Counter()
    with Session(folder, threads=1) as session, Register.open(folder) as writer:
        for number in range(HELD, HELD + adds):
            writer.add([design(number)], session.encoder)
            writer.remove([f"D{number - HELD:04d}"])
            done.update(adds=1, removes=1)
            if done["adds"] % COMPACT_EVERY == 0:
                writer.compact()
                prepare(writer)
                done["compactions"] += 1
            session.refresh()
            done["refreshes"] += 1
            while done["searches"] < searches * done["adds"] / adds:
                asked(session, rng, done["searches"])
                done["searches"] += 1
            if session.register.designs_count != HELD:
                raise SystemExit(f"{session.register.designs_count} designs, not {HELD}")
            yield done
        if faults := session.register.verify():
            raise SystemExit(f"in the end, verify: {faults[0]}")


def slope(at: list[int], values: list[int]) -> tuple[float, float]:
    """Return by how much values grow for 1,000 operations, and by which share over the last half.

    Least squares over the last half of the samples.
    """
    half = len(at) // 2
    x, y = np.array(at[half:], float), np.array(values[half:], float)
    per_one, _ = np.polyfit(x - x.mean(), y, 1)
    return float(per_one * 1000), float(per_one * (x[-1] - x[0]) / y.mean())


def run(searches: int, adds: int, seed: int) -> dict[str, Any]:
    """Do all of it; return what was measured."""
    let_caches_pay()
    started = time.monotonic()
    every = max(1, adds // SAMPLES)
    samples: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory(prefix="long-run-") as scratch:
        bundle = fakes.tiny_bundle(Path(scratch) / "bundle")
        folder = Path(scratch) / "register"
        with Register.create(folder, bundle) as register:
            encoder = fakes.FakeEncoder(bundle.fingerprint)
            register.add(map(design, range(HELD)), encoder)
            prepare(register)
        for done in working(folder, searches, adds, seed):
            if done["adds"] % every == 0:
                gc.collect()
                operations = done["searches"] + done["adds"]
                samples.append({"operations": operations, **counts()})
                print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
    at = [sample["operations"] for sample in samples]
    found: dict[str, Any] = {}
    for name in ("resident", "handles", "mapped", "objects"):
        values = [sample[name] for sample in samples]
        per_thousand, share = slope(at, values)
        half = values[len(values) // 2 :]
        found[name] = {
            "for 1,000 operations": round(per_thousand, 3),
            "growth over the last half, %": round(100 * share, 3),
            "growth over the last half": round(share * float(np.mean(half)), 3),
            "least, last half": min(half),
            "most, last half": max(half),
        }
    return {
        "seed": seed,
        "done": dict(done),
        "grows": grows(found),
        **found,
        "samples": samples,
        "seconds": round(time.monotonic() - started, 1),
    }


def grows(found: dict[str, Any]) -> list[str]:
    """Return what is not flat."""
    share = "growth over the last half, %"
    wrong = [name for name in ("resident", "objects") if found[name][share] > 100 * GROWTH]
    whole = "growth over the last half"  # a few come and go
    return wrong + [name for name in ("handles", "mapped") if found[name][whole] >= 1]


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--searches", type=int, default=10_000)
    parser.add_argument("--adds", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "long_run.json")
    given = parser.parse_args()
    result = run(given.searches, given.adds, given.seed)
    from edge_retrieval.provenance import host, now, versions
    from edge_retrieval.report import save_json

    facts = {"made": now(), "host": host(), "versions": versions()}
    save_json(given.out, {"question": (__doc__ or "").splitlines()[0], **facts, **result})
    print(json.dumps({k: v for k, v in result.items() if k != "samples"}, indent=1))
    if result["grows"]:
        raise SystemExit(f"it grows: {', '.join(result['grows'])}")


if __name__ == "__main__":
    main()
