"""Does a register survive kills, flipped bytes and truncations?

Question: a process that adds, removes, compacts and merges is killed at a random moment, 200 times:
is every register sound afterwards, with all in it that was committed? Of 1,000 flipped bits and 200
truncations over all files of registers, at rest and with a log left by a kill: is each found by
`verify`, or harmless? Does a search answer as before the damage, or say that it cannot? And does a
register that another process changes all the time open 500 times, each time whole? And a repair
that is killed 100 times while another process reads: is all kept that was sound?

    python benchmarks/crashes.py --seed 1 --kills 200 --flips 1000 --truncations 200 --reads 500 \
        --repairs 100

Registers are small and their encoder is a fake: the question is where bytes go, not what they mean.
Writes benchmarks/results/crashes.json.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
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

from edge_retrieval.errors import EdgeRetrievalError  # noqa: E402
from edge_retrieval.register import Register  # noqa: E402
from edge_retrieval.register.database import Database  # noqa: E402
from edge_retrieval.register.repairing import faults_of, repair  # noqa: E402
from edge_retrieval.register.state import read_head  # noqa: E402
from edge_retrieval.sources.design import Design  # noqa: E402
from tests import fakes  # noqa: E402

RESULTS = Path(__file__).parent / "results"
POOL = 24  # designs that may be added
OTHERS = 6  # designs of the register that is merged
WORK_SECONDS = 0.35  # within which a process is killed after its first commit could come
REPAIR_SECONDS = 0.08  # within which a repair is killed
Content = dict[str, int]
"""Number of each design -> how many figures it has."""


def pool() -> list[Design]:
    """Return small designs with one to three sheets of one figure."""
    return [
        fakes.design(
            i,
            [
                fakes.sheet(
                    fakes.drawing(i, view, side=48),
                    f"{i}-{view}.png",
                    single=True,
                    where=f"made/{i}-{view}.png",
                )
                for view in range(1 + i % 3)
            ],
            fakes.CLASSES[i % len(fakes.CLASSES)],
            title=f"Thing {i}",
            published=f"2021-03-{i % 28 + 1:02d}",
            applicants=(f"Maker {i % 5}",),
        )
        for i in range(POOL + OTHERS)
    ]


def make_registers(folder: Path) -> tuple[Path, Path]:
    """Make a register with some designs, and another one to merge; return both."""
    bundle = fakes.tiny_bundle(folder / "bundle")
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    designs = pool()
    for name, part in (("register", designs[:8]), ("other", designs[POOL:])):
        with Register.create(folder / name, bundle) as register:
            register.add(part, encoder)
    return folder / "register", folder / "other"


def content_of(register: Register) -> Content:
    """Return what is in a register."""
    columns = register.columns
    figures = np.bincount(columns.design_of, minlength=len(columns.alive))
    return {
        columns.number(design): int(figures[design])
        for design in np.flatnonzero(columns.alive).tolist()
    }


def let_caches_pay() -> None:
    """Let the caches of search be made and used in registers as small as ours."""
    from edge_retrieval import plan

    plan.PASS_FROM, plan.GRAPH_FROM, plan.BYTE_LOADED = 1, 1, 0.0


# Kills


def child(folder: Path, other: Path, seed: int) -> None:
    """Write in a register until killed; tell on stdout what is begun and what is committed."""
    rng = np.random.default_rng(seed)
    commit = Database.commit
    sql = "SELECT d.number, count(*) FROM figures f JOIN designs d ON d.id = f.design"
    sql += " WHERE d.dead = 0 GROUP BY d.number"

    def telling(database: Database, **values: Any) -> Any:
        state = commit(database, **values)
        tell(state=list(state), content=dict(database.all(sql)))
        return state

    def tell(**facts: Any) -> None:
        os.write(1, json.dumps(facts).encode() + b"\n")

    Database.commit = telling  # type: ignore[assignment,method-assign]
    from edge_retrieval.register import adding

    adding.COMMIT_FIGURES = 4
    designs = pool()[:POOL]
    with Register.open(folder) as register, Register.open(other) as second:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        while True:
            living = sorted(content_of(register))
            work = rng.choice(["add", "add", "add", "remove", "compact", "merge"])
            chosen = [str(number) for number in rng.permutation(living)[: rng.integers(1, 4)]]
            tell(work=work, chosen=chosen)
            if work == "add":
                places = rng.choice(len(designs), rng.integers(1, 8), replace=False)
                register.add([designs[place] for place in places], encoder)
            elif work == "remove" and len(living) > 6:
                register.remove(chosen)
            elif work == "compact":
                register.compact()
            elif work == "merge":
                register.merge_from(second)


def kill_once(folder: Path, other: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Start a process that writes, kill it at a random moment; return what it told."""
    command = [sys.executable, __file__, "--child", str(folder), str(other)]
    command.append(str(rng.integers(1 << 31)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    assert process.stdout is not None
    told = b""
    until = None
    while True:
        ready, _, _ = select.select([process.stdout], [], [], 0.0005 if until else 60)
        piece = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
        if ready and not piece:
            raise SystemExit(f"the writing process ended by itself: {process.wait()}")
        told += piece
        if until is None:
            until = time.monotonic() + rng.uniform(0, WORK_SECONDS)
        if time.monotonic() >= until:
            break
    process.kill()
    told += process.stdout.read()
    process.wait()
    process.stdout.close()
    return [json.loads(line) for line in told.splitlines() if line.endswith(b"}")]


def fault_after(folder: Path, told: list[dict[str, Any]], truth: dict[str, bytes]) -> str:
    """Return what is wrong with a register after a kill; "" if nothing."""
    try:
        with Register.open(folder) as register:
            if faults := register.verify():
                return f"verify: {faults[0]}"
            return _lost(register, told) or _wrong_vector(register, truth)
    except EdgeRetrievalError as error:
        return f"cannot be opened: {error}"


def _all_was_told(folder: Path, copy: Path) -> bool:
    """Tell whether the head knows the last commit of a register, or the kill came in between.

    In between, nobody was told of that commit: whether a damaged log still has it is all the same,
    but we could not tell it from a loss.
    """
    shutil.copytree(folder, copy)
    head = read_head(copy)
    with Register.open(copy) as register:
        told = head is not None and head.generation == register.generation
    shutil.rmtree(copy)
    return told


def _lost(register: Register, told: list[dict[str, Any]]) -> str:
    commits = [facts for facts in told if "state" in facts]
    if not commits:
        return ""
    content, last = content_of(register), commits[-1]
    generation = last["state"][0]
    if register.generation not in (generation, generation + 1):  # one may have gone untold
        return f"at generation {register.generation}, but {generation} was committed"
    if register.generation == generation:
        return "" if content == last["content"] else "other designs than were committed"
    work = [facts for facts in told if "work" in facts][-1]
    gone = [n for n, figures in last["content"].items() if content.get(n, 0) < figures]
    expected = work["chosen"] if work["work"] == "remove" else []
    return "" if set(gone) <= set(expected) else f"lost: {', '.join(gone)}"


def _wrong_vector(register: Register, truth: dict[str, bytes]) -> str:
    rows = register.living_rows()
    for record, vector in zip(register.figures(rows), register.read_rows(rows), strict=True):
        if truth[record.sheet] != vector.tobytes():
            return f"another vector for {record.sheet}"
    return ""


def vectors_of(folders: list[Path], work: Path) -> dict[str, bytes]:
    """Return the right vector of every sheet, by its name."""
    with Register.open(folders[0]) as register:
        bundle = register.bundle
        with Register.create(work / "truth", bundle) as truth:
            truth.add(pool(), fakes.FakeEncoder(bundle.fingerprint))
            rows = truth.living_rows()
            return {
                record.sheet: vector.tobytes()
                for record, vector in zip(truth.figures(rows), truth.read_rows(rows), strict=True)
            }


def kills(count: int, seed: int, work: Path, keep: Path) -> dict[str, Any]:
    """Kill `count` processes; registers with a log left over are kept, as they were, in `keep`."""
    rng = np.random.default_rng([seed, 1])
    register, other = make_registers(work)
    truth = vectors_of([register], work)
    faults: list[str] = []
    during, commits, logs = Counter[str](), 0, 0
    for number in range(count):
        told = kill_once(register, other, rng)
        during[next((f["work"] for f in reversed(told) if "work" in f), "opening")] += 1
        commits += sum("state" in facts for facts in told)
        log = register / "designs.sqlite-wal"
        if log.exists() and log.stat().st_size:
            logs += 1
            if len(list(keep.glob("killed-*"))) < 3 and _all_was_told(register, work / "look"):
                shutil.copytree(register, keep / f"killed-{logs}")
        if fault := fault_after(register, told, truth):
            faults.append(f"kill {number}: {fault}")
            shutil.copytree(register, keep / f"faulty-{number}")
    return {
        "kills": count,
        "during": dict(during),
        "commits": commits,
        "with a log left": logs,
        "faults": faults,
    }


# Company


def reads(count: int, seed: int, work: Path) -> dict[str, Any]:
    """Open a register `count` times while another process writes in it."""
    folder = work / "company"
    folder.mkdir()
    register, other = make_registers(folder)
    truth = vectors_of([register], folder)
    command = [sys.executable, __file__, "--child", str(register), str(other), str(seed)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    seen: set[int] = set()
    faults: list[str] = []
    longest = 0.0
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(command, stdout=told, env=environment, cwd=ROOT)
        while not (folder / "told").stat().st_size:
            time.sleep(0.01)
        for number in range(count):
            started = time.monotonic()
            try:
                with Register.open(register) as reader:
                    longest = max(longest, time.monotonic() - started)
                    seen.add(reader.generation)
                    faults += [f"read {number}: {line}" for line in reader.verify()]
                    if fault := _wrong_vector(reader, truth):
                        faults.append(f"read {number}: {fault}")
            except EdgeRetrievalError as error:
                faults.append(f"read {number}: {error}")
        process.kill()
        process.wait()
    return {
        "reads": count,
        "generations seen": len(seen),
        "longest wait to open, s": round(longest, 3),
        "faults": faults,
    }


# Repairs


def repairs(count: int, seed: int, work: Path) -> dict[str, Any]:
    """Kill `count` repairs of a register with a log and a damaged picture, read meanwhile."""
    rng = np.random.default_rng([seed, 3])
    folder = work / "repairs"
    folder.mkdir()
    register, _ = make_registers(folder)
    source, copy = folder / "source", folder / "copy"
    with Register.open(register) as reader, Register.open(register) as writer:
        reader.problems()  # its snapshot keeps the log
        writer.add(pool()[8:12], fakes.FakeEncoder(writer.bundle.fingerprint))
        right = content_of(writer)
        shutil.copytree(register, source)
    path = source / "pictures-0.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    del right["D0000"]
    killed, faults = 0, []
    for number in range(count):
        shutil.copytree(source, copy)
        with Register.open(copy):
            killed += _kill_repair(copy, rng.uniform(0, REPAIR_SECONDS))
        try:
            repair(copy)
            with Register.open(copy) as register_:
                if content_of(register_) != right or register_.verify():
                    faults.append(f"repair {number}: {sorted(content_of(register_))}")
        except EdgeRetrievalError as error:
            faults.append(f"repair {number}: {error}")
        shutil.rmtree(copy)
    return {"repairs": count, "killed": killed, "faults": faults}


def _kill_repair(folder: Path, seconds: float) -> bool:
    """Repair a register in another process; say whether the kill came before its end."""
    command = [sys.executable, __file__, "--repair", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.read(1)  # it begins
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        return process.wait() != 0


# Damage


def answers_of(folder: Path) -> Any:
    """Return what searches in a register answer: rank, score, design and sheet of each hit.

    Scores to six digits: what a cache leads to is scored in float64, all together in float32.
    """
    from edge_retrieval.search import Query, query_from_bytes, search

    queries: list[Query] = []
    for design in (0, 9, POOL + 2):
        data = fakes.drawing(design, 1, side=48)
        queries.append(query_from_bytes(data, f"{design}", cut=False))
    let_caches_pay()
    with Register.open(folder) as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        results = search(register, queries, encoder, k=7)
        results += search(register, queries, encoder, k=40, exclude_self=True)
        return [
            [
                (hit.rank, round(hit.score, 6), hit.design.number, hit.figure.sheet)
                for hit in result.hits
            ]
            for result in results
        ]


def records_of(folder: Path) -> Any:
    """Return all that a register tells."""
    with Register.open(folder) as register:
        rows = register.living_rows()
        return [
            (record, register.design(record.design), register.picture(record.row), vector.tobytes())
            for record, vector in zip(register.figures(rows), register.read_rows(rows), strict=True)
        ]


def damaging(bases: list[Path], first: int, stop: int, flips: int, seed: int) -> None:
    """Damage copies of registers, and tell on stdout what came of it: flips first, then cuts."""
    right: dict[Path, list[Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        for base in bases:
            right[base] = []
            for ask in (answers_of, records_of):
                shutil.copytree(base, copy)
                right[base].append(ask(copy))
                shutil.rmtree(copy)
        for number in range(first, stop):
            rng = np.random.default_rng([seed, 2, number])
            base = bases[int(rng.integers(len(bases)))]
            files = sorted(p for p in base.rglob("*") if p.is_file() and p.stat().st_size)
            path = files[int(rng.integers(len(files)))]
            name = path.relative_to(base).as_posix()
            data = bytearray(path.read_bytes())
            place = int(rng.integers(len(data)))
            if number < flips:
                data[place] ^= 1 << int(rng.integers(8))
            else:
                del data[place:]
            print(json.dumps({"begun": number, "base": base.name, "file": name, "at": place}))
            outcome = {}
            for what, judge in (("verify", _by_verify), ("search", _by_search)):
                shutil.copytree(base, copy)
                (copy / name).write_bytes(data)
                outcome[what] = judge(copy, right[base])
                shutil.rmtree(copy)
            print(json.dumps({"number": number, "file": name, "at": place} | outcome), flush=True)


def _by_verify(folder: Path, right: list[Any]) -> str:
    try:
        if faults_of(folder):
            return "found"
        return "harmless" if records_of(folder) == right[1] else "MISSED"
    except EdgeRetrievalError:
        return "found"
    except Exception as error:
        return f"CRASH {type(error).__name__}: {error}"


def _by_search(folder: Path, right: list[Any]) -> str:
    try:
        return "answered" if answers_of(folder) == right[0] else "WRONG"
    except EdgeRetrievalError:
        return "refused"
    except Exception as error:
        return f"CRASH {type(error).__name__}: {error}"


def damages(bases: list[Path], flips: int, cuts: int, seed: int) -> dict[str, Any]:
    """Damage registers `flips` + `cuts` times in other processes, so that none brings us down."""
    total = flips + cuts
    parts = max(1, min(2, os.cpu_count() or 1, total))
    edges = [total * i // parts for i in range(parts + 1)]
    command = [sys.executable, __file__, "--damage", *map(str, bases)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [
                *command,
                "--from",
                str(a),
                "--to",
                str(b),
                "--flips",
                str(flips),
                "--seed",
                str(seed),
            ],
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        for a, b in itertools.pairwise(edges)
    ]
    told: list[dict[str, Any]] = []
    faults: list[str] = []
    for worker in workers:
        lines = [json.loads(line) for line in worker.communicate()[0].splitlines()]
        told += [line for line in lines if "number" in line]
        if worker.returncode:
            faults.append(f"the process ended with {worker.returncode} after {lines[-1:]}")
    for line in told:
        if any(str(line[what])[0].isupper() for what in ("verify", "search")):
            faults.append(json.dumps(line))
    result: dict[str, Any] = {}
    for kind, some in (
        ("flips", [line for line in told if line["number"] < flips]),
        ("truncations", [line for line in told if line["number"] >= flips]),
    ):
        files: dict[str, Counter[str]] = {}
        for line in some:
            counts = files.setdefault(_kind_of(line["file"]), Counter())
            counts[line["verify"].split()[0]] += 1
            counts[line["search"].split()[0]] += 1
        result[kind] = {
            "count": len(some),
            "verify": dict(Counter(line["verify"].split()[0] for line in some)),
            "search": dict(Counter(line["search"].split()[0] for line in some)),
            "files": {name: dict(counts) for name, counts in sorted(files.items())},
        }
    return result | {"faults": faults}


def _kind_of(name: str) -> str:
    """Return a file's name without the number of its epoch."""
    return "".join(letter for letter in name if not letter.isdecimal()).replace("-.", ".")


@contextlib.contextmanager
def bases_in(work: Path, killed: Path) -> Iterator[list[Path]]:
    """Make the registers that are damaged: fresh, with a past, and those left by kills."""
    folder = work / "bases"
    folder.mkdir()
    fresh, other = make_registers(folder)
    past = Path(shutil.copytree(fresh, folder / "past"))
    with Register.open(past) as register, Register.open(other) as second:
        register.merge_from(second)
        register.remove(["D0001", "D0004"])
        register.compact()
        register.remove(["D0002"])
        register.add(pool()[9:12], fakes.FakeEncoder(register.bundle.fingerprint))
        let_caches_pay()
        from edge_retrieval.preparing import prepare

        prepare(register)
        assert list(past.glob("pass.*"))
        assert list(past.glob("graph.*"))
    yield [fresh, past, past, past, *sorted(killed.glob("killed-*"))]  # it has all kinds of files


def run(
    count: int, flips: int, cuts: int, opens: int, seed: int, mended: int = 0
) -> dict[str, Any]:
    """Do all of it; return what came of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        work, keep = Path(scratch) / "work", Path(scratch) / "keep"
        work.mkdir()
        keep.mkdir()
        killed = kills(count, seed, work, keep)
        company = reads(opens, seed, work)
        repaired = repairs(mended, seed, work)
        with bases_in(work, keep) as bases:
            damaged = damages(bases, flips, cuts, seed)
            names = sorted({base.name for base in bases})
    seconds = round(time.monotonic() - started, 1)
    return {
        "seed": seed,
        "kills": killed,
        "company": company,
        "repairs": repaired,
        "bases": names,
        "damage": damaged,
        "seconds": seconds,
    }


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--truncations", type=int, default=200)
    parser.add_argument("--reads", type=int, default=500)
    parser.add_argument("--repairs", type=int, default=100)
    parser.add_argument("--repair", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "crashes.json")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--damage", nargs="+", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--to", dest="stop", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(Path(given.child[0]), Path(given.child[1]), int(given.child[2]))
    elif given.repair:
        os.write(1, b"!")
        repair(given.repair)
    elif given.damage:
        damaging(given.damage, given.first, given.stop, given.flips, given.seed)
    else:
        from edge_retrieval.provenance import host, now, versions
        from edge_retrieval.report import save_json

        work = (given.kills, given.flips, given.truncations, given.reads)
        result = run(*work, given.seed, given.repairs)
        facts = {"made": now(), "host": host(), "versions": versions()}
        save_json(given.out, {"question": (__doc__ or "").splitlines()[0], **facts, **result})
        print(json.dumps(result, indent=1))
        if any(result[part]["faults"] for part in ("kills", "company", "repairs", "damage")):
            raise SystemExit("faults were found: see above")


if __name__ == "__main__":
    main()
