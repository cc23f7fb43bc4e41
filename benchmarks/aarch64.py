"""Does a Raspberry Pi find what a PC finds? Asked of an emulated one: answers, never times.

Question: with the same bundle and the same drawings, are the ten best designs of 50 searches on
aarch64 those of this machine? And does the base install need a compiler there?

    python benchmarks/aarch64.py path/to/uspto-multiview
    python benchmarks/aarch64.py path/to/uspto-multiview --bundle bundles/small-fp32 \\
        -o benchmarks/results/aarch64-fp32.json

On this machine and on QEMU's Cortex-A72 (Raspberry Pi 4) and Cortex-A76 (Raspberry Pi 5):
`edge-ret doctor`, `edge-ret index` of some 300 figures, one `edge-ret search` with 50 sheets, half
of them of designs that are in the register. On the emulated ones the register that this machine
made is also verified and searched: a register moves to a Pi as a folder. Searches agree where the
ten best are the same in the same order, or the scores differ, rank by rank, by at most 0.001.
INT8 is asked for less than FP32: two right ways to run one INT8 file, whole numbers and the same in
float, round some values to neighbouring steps, and their vectors differ by up to 0.001 in cosine.

Needs Linux on x86-64 with apt-get and Debian's keys, and the extra `dev`; see `emulated.py`. What
was fetched and indexed is kept in the folder of `--work`: stopped, the same command goes on. Takes
some minutes of an idle core. Writes benchmarks/results/aarch64.json; `python benchmarks/render.py`
makes the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from emulated import Machine, call, requirements

from edge_retrieval.bundle import Bundle
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

ROOT = Path(__file__).parents[1]
CPUS = ("cortex-a72", "cortex-a76")
FIGURES, SEARCHES, MOVED, K = 300, 50, 10, 10
AGREE = 1e-3  # between scores of one rank, where the order differs

TELL = """
import json, platform
from edge_retrieval.provenance import versions
print(json.dumps({"machine": platform.machine(), "glibc": platform.libc_ver()[1],
                  "versions": versions()}))
"""


class Drawings(NamedTuple):
    """What is indexed, and what is searched with."""

    table: Path
    queries: list[Path]
    known: int  # of the queries, so many are of designs in the table


def main() -> None:
    """Ask this machine, then each processor, and save what they answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="a table source: metadata.csv and sheets")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "small")
    parser.add_argument("--cpu", action="append", help=f"default: {', '.join(CPUS)}")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "edge-retrieval-aarch64"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=ROOT / "benchmarks" / "results" / "aarch64.json"
    )
    args = parser.parse_args()
    bundle = Bundle.open(args.bundle.resolve())
    work = args.work.resolve() / bundle.fingerprint[:12]
    work.mkdir(parents=True, exist_ok=True)
    drawings = choose(args.source, work / "drawings")
    print("this machine ...", flush=True)
    here = Here(work)
    mine = answers(here, drawings, bundle.folder)

    machine = Machine(args.work)
    print("an arm64 Debian ...", flush=True)
    machine.make()
    wheel = build(work)
    print("the base install there ...", flush=True)
    machine.install(wheel, ROOT / "constraints.txt")
    cpus = args.cpu or CPUS
    print(f"{' and '.join(cpus)}, side by side ...", flush=True)
    with ThreadPoolExecutor() as pool:  # of processes: QEMU's
        waiting = [
            pool.submit(compared, There(work, machine, cpu), here, drawings, mine, bundle.folder)
            for cpu in cpus
        ]
        rows = [one.result() for one in waiting]
    for row in rows:
        print(f"{row['cpu']}: {row['equal']} of {len(drawings.queries)} equal", flush=True)
    save_json(
        args.out,
        {
            "question": "are the ten best of an emulated aarch64 those of this machine?",
            "source": args.source.resolve().name,
            "bundle": bundle.name,
            "precision": bundle.precision,
            "fingerprint": bundle.fingerprint,
            "designs": mine["index"]["designs"],
            "figures": mine["index"]["figures"],
            "searches": len(drawings.queries),
            "searches_of_known_designs": drawings.known,
            "k": K,
            "agree": AGREE,
            "requires": requirements(wheel),
            "here": {"doctor": mine["doctor"], "host": host(), "versions": versions()},
            "there": rows,
            "qemu": machine.version(),
            "created": now(),
        },
    )


class Here:
    """This machine."""

    def __init__(self, work: Path) -> None:
        self.register, self.cache = work / "register-here", work / "cache-here"

    def run(self, *words: str | Path) -> Any:
        """Run edge-ret; return the JSON that it prints."""
        command = [sys.executable, "-m", "edge_retrieval.cli", *words, "--json"]
        variables = {"PYTHONPATH": str(ROOT), "EDGE_RET_CACHE": str(self.cache)}
        return json.loads(call(command, {**os.environ, **variables}))


class There:
    """One processor of the emulated machine."""

    def __init__(self, work: Path, machine: Machine, cpu: str) -> None:
        self.register, self.cache = work / f"register-{cpu}", work / f"cache-{cpu}"
        self.machine, self.cpu = machine, cpu

    def run(self, *words: str | Path) -> Any:
        """Run edge-ret there; return the JSON that it prints."""
        command = [self.machine.venv / "bin" / "edge-ret", *words, "--json"]
        return json.loads(self.machine.run(command, self.cpu, EDGE_RET_CACHE=str(self.cache)))

    def facts(self) -> Any:
        """Return what the emulated machine says it is, and what is installed there."""
        python = self.machine.venv / "bin" / "python"
        return json.loads(self.machine.run([python, "-c", TELL], self.cpu))


def choose(source: Path, folder: Path) -> Drawings:
    """Take designs in order until there are figures enough; search with sheets of both kinds."""
    with (source / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figures: dict[str, int] = {}
    for row in rows:
        figures[row["design"]] = figures.get(row["design"], 0) + 1
    taken: set[str] = set()
    for design, _ in sorted(figures.items()):
        if sum(figures[one] for one in taken) >= FIGURES:
            break
        taken.add(design)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["design"] in taken)
    for name in {row["file_name"] for row in rows if row["design"] in taken}:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, folder / name)

    def spread(known: bool) -> list[Path]:
        files = sorted({row["file_name"] for row in rows if (row["design"] in taken) == known})
        places = np.linspace(0, len(files) - 1, SEARCHES // 2).astype(int)
        return [(source / files[place]).resolve() for place in places]

    return Drawings(folder, spread(True) + spread(False), SEARCHES // 2)


def build(work: Path) -> Path:
    """Build the wheel of this very code."""
    for old in work.glob("*.whl"):
        old.unlink()
    call([sys.executable, "-m", "build", "--wheel", "--outdir", work, ROOT])
    [wheel] = work.glob("*.whl")
    return wheel


def answers(place: Here | There, drawings: Drawings, bundle: Path) -> dict[str, Any]:
    """Check the bundle, index, search; what the commands say, without times."""
    doctor = place.run("doctor", bundle)
    trial = doctor["runtimes"][0]
    # One process: the register is the same for any number, and QEMU starts slowly.
    index = place.run("index", drawings.table, "-o", place.register, "--bundle", bundle, "-j", "1")
    return {
        "doctor": {
            "good": doctor["good"],
            "runtime": trial["runtime"],
            "least": trial["least"],
            "mean": trial["mean"],
            "asked": doctor["golden_tolerance"],
            "checks": {check["name"]: check["good"] for check in doctor["checks"]},
        },
        "index": {name: index[name] for name in ("designs", "figures")},
        "hits": searched(place, drawings.queries, place.register),
    }


def searched(
    place: Here | There, queries: list[Path], register: Path
) -> list[list[tuple[str, float]]]:
    """Search with every drawing; (design, score) best first."""
    found = place.run("search", "--each", *queries, "-r", register, "-k", str(K))
    return [[(h["design"], h["score"]) for h in result["hits"]] for result in found["results"]]


def compared(
    there: There, here: Here, drawings: Drawings, mine: dict[str, Any], bundle: Path
) -> dict[str, Any]:
    """Hold what a processor answers against what this machine does."""
    facts = there.facts()
    assert facts["machine"] == "aarch64", facts
    theirs = answers(there, drawings, bundle)
    assert theirs["index"] == mine["index"], (theirs["index"], mine["index"])
    told = agreement(mine["hits"], theirs["hits"])
    faults = there.run("register", "verify", here.register)["faults"]
    moved = agreement(
        mine["hits"][:MOVED], searched(there, drawings.queries[:MOVED], here.register)
    )
    return {
        "cpu": there.cpu,
        **facts,
        "doctor": theirs["doctor"],
        **told,
        **stored(here.register, there.register),
        "moved_register": {"faults": faults, "searches": MOVED, **moved},
    }


def agreement(
    some: list[list[tuple[str, float]]], others: list[list[tuple[str, float]]]
) -> dict[str, Any]:
    """Compare searches one by one.

    Returns:
        `equal`: how many have the same designs in the same order; `within`: how many have that, or
        scores within `AGREE` rank by rank; `largest_difference` of scores of one rank; `differing`:
        of the others, place and both answers.
    """
    equal, within, largest, differing = 0, 0, 0.0, []
    for number, (one, other) in enumerate(zip(some, others, strict=True)):
        apart = max((abs(a - b) for (_, a), (_, b) in zip(one, other, strict=True)), default=0.0)
        same = [name for name, _ in one] == [name for name, _ in other]
        equal, within = equal + same, within + (same or apart <= AGREE)
        largest = max(largest, apart)
        if not same:
            differing.append({"search": number, "here": one, "there": other})
    return {
        "equal": equal, "within": within, "largest_difference": round(largest, 7),
        "differing": differing,
    }  # fmt: skip


def stored(here: Path, there: Path) -> dict[str, Any]:
    """Compare what two registers of the same drawings hold: pictures and vectors."""
    pictures = [next(folder.glob("pictures-*.bin")).read_bytes() for folder in (here, there)]
    dim = Bundle.read(here / "bundle").dim
    a, b = (
        np.fromfile(next(folder.glob("vectors-*.f32")), "<f4").reshape(-1, dim).astype(np.float64)
        for folder in (here, there)
    )  # (N, D)
    return {
        "pictures_equal": pictures[0] == pictures[1],
        "least_cosine": round(float((a * b).sum(1).min()), 7),
        "vectors_equal": int((a == b).all(1).sum()),
    }


if __name__ == "__main__":
    main()
