"""Does any file bring a reader down?

Question: of 100,000 spoilt files of every kind that is read (drawings, archives, grants, tables,
folders, bundles, registers, records, reports, settings), does one end a process, hang it for more
than 5 s, need more than 1 GB, or raise anything but an error that a user can fix?

    python benchmarks/fuzz.py --inputs 100000 --seed 1
    python benchmarks/fuzz.py --only tiff --input 1234    # one input again, with its traceback

Each input is made from small files by a mutator that often knows the format (`fuzz_mutators`),
and read in a process whose memory ends at 1 GB. The 5 s are of the processor's time, so that a busy
machine makes no hang; a process that shows no sign of life for 60 s is ended, and counts as one.
What is found is kept with its input under runs/fuzz/. Exit 1 if anything was.
Writes benchmarks/results/fuzz.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
for place in (Path(__file__).parent, ROOT):
    sys.path.insert(0, str(place))

from edge_retrieval.errors import EdgeRetrievalError  # noqa: E402
from edge_retrieval.limits import Limits, within  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
MEMORY = 1 << 30
SECONDS = 5.0
SILENT = 60.0
RENDERING = 15
"""Seconds that the process is given that renders PDFs, its start among them."""
GUARDED = ("brought down the process", "to render")
"""What is said where another library hung or crashed in a process of its own: no finding."""
TOLD_EVERY = 100
FRUGAL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONHASHSEED": "0",
}
"""Of a process with little memory: a thread more, and its stack and heap would count."""
KINDS = ("crash", "hang", "memory", "exception")


class Hang(BaseException):
    """An input took too much of the processor's time; no reader takes it for its own."""


@dataclass
class Found:
    """What a process has seen since it last told."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        """Count one input."""
        self.counts.setdefault(kind, Counter())[outcome] += 1
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), seconds)


def jobs_of(shares: dict[str, int], inputs: int) -> list[tuple[str, int]]:
    """Return (kind, number) of every input, kinds mixed."""
    whole = sum(shares.values())
    counts = {kind: max(20, inputs * share // whole) for kind, share in shares.items()}
    most = max(counts.values())
    found = [
        ((number + 0.5) / count, kind, number)
        for kind, count in counts.items()
        for number in range(min(count, most))
    ]
    return [(kind, number) for _, kind, number in sorted(found)][:inputs]


def limited() -> None:
    """Let this process have no more than `MEMORY`, and one thread for arithmetic."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read_one(reader: Any, data: bytes, folder: Path) -> tuple[str, str]:
    """Feed one input to its reader; return how it ended, and a traceback if it should not have."""

    def over(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 1.0)
    try:
        with within(Limits(seconds=RENDERING)):
            reader.read(data, folder)
    except EdgeRetrievalError as error:
        if any(words in str(error) for words in GUARDED):
            return "guarded", ""
        return ("refused", "") if str(error) and error.hint else ("exception", "says nothing")
    except Hang:
        return "hang", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException:
        return "exception", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read", ""


def prepare_process() -> None:
    """Let seeds be the same at any time, or no input could be made again; let caches pay."""
    from edge_retrieval import plan, provenance

    provenance.now = lambda: "2026-01-01T00:00:00+00:00"  # before it is imported by name
    plan.PASS_FROM, plan.GRAPH_FROM, plan.BYTE_LOADED = 1, 1, 0.0  # type: ignore[misc]
    warnings.simplefilter("error")


def work(args: argparse.Namespace) -> None:
    """Be a worker: take the inputs that standard input names, tell of each on standard output."""
    parent = os.getppid()
    prepare_process()
    from fuzz_readers import Readers

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as kept:
        readers = Readers(Path(kept), args.real).all
        limited()
        print(
            json.dumps({"shares": {n: r.share for n, r in readers.items()}}), file=out, flush=True
        )
        found = Found()
        for line in sys.stdin:
            if os.getppid() != parent:  # it was ended, and nobody hears what is found
                return
            job, kind, number = json.loads(line)
            os.pwrite(args.place, job.to_bytes(8, "little"), 0)
            data = readers[kind].input_of(args.seed, number)
            args.last.write_bytes(data)
            folder = Path(kept) / "input"
            folder.mkdir()
            began = time.process_time()
            outcome, told = read_one(readers[kind], data, folder)
            seconds = time.process_time() - began
            shutil.rmtree(folder, ignore_errors=True)
            found.note(kind, outcome, seconds)
            if outcome in KINDS:
                keep(args, kind, number, outcome, told)
                print(
                    json.dumps({"job": job, "outcome": outcome, "told": told}), file=out, flush=True
                )
            if job % TOLD_EVERY < args.workers or seconds > 1:
                tell(found, out)
        tell(found, out)


def keep(args: argparse.Namespace, kind: str, number: int, outcome: str, told: str) -> None:
    """Keep an input that was found out, and what came of it."""
    args.keep.mkdir(parents=True, exist_ok=True)
    name = f"{args.seed}-{kind}-{number}-{outcome}"
    shutil.copyfile(args.last, args.keep / f"{name}.bin")
    (args.keep / f"{name}.txt").write_text(told, encoding="utf-8", errors="backslashreplace")


def tell(found: Found, out: IO[str]) -> None:
    """Hand over what was counted, and begin anew."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told = {"counts": found.counts, "slowest": found.slowest, "peak": peak}
    print(json.dumps(told), file=out, flush=True)
    found.counts.clear()
    found.slowest.clear()


class Worker:
    """A process that reads inputs, and what is known of how far it is.

    Args:
        number: Which worker.
        args: Settings.
    """

    def __init__(self, number: int, args: argparse.Namespace) -> None:
        self.args = args
        self.place = os.memfd_create(f"place-{number}")
        self.last = Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}-{number}.bin"
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (held as long as the worker)
        self.pipe, end = os.pipe()
        os.set_blocking(self.pipe, False)
        self.jobs = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, __file__, "--worker", "--place", str(self.place)]
        command += ["--seed", str(args.seed), "--workers", str(args.workers)]
        command += ["--last", str(self.last), "--keep", str(args.keep)]
        command += ["--real", str(args.real)] if args.real else []
        self.start = lambda: subprocess.Popen(
            command, stdin=self.jobs, stdout=end, stderr=self.log, pass_fds=[self.place],
            env=os.environ | FRUGAL, start_new_session=True,
        )  # fmt: skip
        self.rest = b""
        self.seen, self.moved = -1, time.monotonic()

    def begin(self, jobs: list[tuple[int, str, int]]) -> None:
        """Start a process for these jobs."""
        self.jobs.seek(0)
        self.jobs.truncate()
        self.jobs.write("".join(json.dumps(job) + "\n" for job in jobs))
        self.jobs.flush()
        self.jobs.seek(0)
        os.pwrite(self.place, (1 << 40).to_bytes(8, "little"), 0)
        self.process = self.start()
        self.moved = time.monotonic()

    @property
    def at(self) -> int:
        """The job that is being done; a large number before the first."""
        return int.from_bytes(os.pread(self.place, 8, 0), "little")

    def lines(self) -> list[dict[str, Any]]:
        """Return what the process has told since the last time."""
        try:
            while piece := os.read(self.pipe, 1 << 16):
                self.rest += piece
        except BlockingIOError:
            pass
        *whole, self.rest = self.rest.split(b"\n")
        return [json.loads(line) for line in whole]

    def is_silent(self) -> bool:
        """Tell whether it has been at one job for too long."""
        if self.at != self.seen:
            self.seen, self.moved = self.at, time.monotonic()
        return time.monotonic() - self.moved > SILENT


def shares_of(args: argparse.Namespace) -> dict[str, int]:
    """Ask a worker which readers there are."""
    worker = Worker(0, args)
    worker.begin([])
    if worker.process.wait() != 0:
        worker.log.seek(0)
        sys.exit(worker.log.read().decode())
    shares: dict[str, int] = worker.lines()[0]["shares"]
    if args.only:
        unknown = set(args.only) - shares.keys()
        if unknown:
            sys.exit(f"no reader {min(unknown)}: choose from {', '.join(shares)}")
        shares = {kind: shares[kind] for kind in args.only}
    return shares


class Run:
    """All workers, until every input was read."""

    def __init__(self, args: argparse.Namespace, jobs: list[tuple[str, int]]) -> None:
        self.args, self.jobs = args, jobs
        self.counts: dict[str, Counter[str]] = {}
        self.slowest: dict[str, float] = {}
        self.peak = 0
        self.findings: list[dict[str, Any]] = []

    def note(self, job: int, outcome: str, told: str) -> None:
        """Keep what was found."""
        kind, number = self.jobs[job]
        found = {"kind": kind, "input": number, "outcome": outcome, "told": told}
        self.findings.append(found)
        last = told.strip().splitlines()[-1][:150] if told.strip() else ""
        print(
            f"{outcome}: --only {kind} --input {number} --seed {self.args.seed}  {last}", flush=True
        )

    def hear(self, worker: Worker) -> None:
        """Take what a worker has told."""
        for line in worker.lines():
            if "job" in line:
                self.note(line["job"], line["outcome"], line["told"])
            for kind, counts in line.get("counts", {}).items():
                self.counts.setdefault(kind, Counter()).update(counts)
            for kind, seconds in line.get("slowest", {}).items():
                self.slowest[kind] = max(self.slowest.get(kind, 0), seconds)
            self.peak = max(self.peak, line.get("peak", 0))

    def go(self) -> None:
        """Read all inputs; a worker that ends too early has found something."""
        numbered = [(job, kind, number) for job, (kind, number) in enumerate(self.jobs)]
        parts = {
            Worker(i, self.args): numbered[i :: self.args.workers] for i in range(self.args.workers)
        }
        for worker, part in parts.items():
            worker.begin(part)
        while parts:
            time.sleep(0.2)
            for worker in list(parts):
                code = worker.process.poll()
                self.hear(worker)
                if code is None and worker.is_silent():
                    worker.process.kill()
                    worker.process.wait()
                    self.ended(worker, parts, "hang")
                elif code == 0:
                    worker.last.unlink(missing_ok=True)
                    del parts[worker]
                elif code is not None:
                    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                    worker.log.seek(0)
                    self.ended(
                        worker, parts, "crash", name + "\n" + worker.log.read().decode()[-2000:]
                    )

    def ended(self, worker: Worker, parts: dict[Worker, Any], outcome: str, told: str = "") -> None:
        """Note what ended a worker, and go on after it."""
        if worker.at >= len(self.jobs):
            sys.exit(f"a worker did not start: {told}")
        kind, number = self.jobs[worker.at]
        args = argparse.Namespace(**vars(self.args) | {"last": worker.last})
        keep(args, kind, number, outcome, told)
        self.counts.setdefault(kind, Counter())[outcome] += 1
        self.note(worker.at, outcome, told)
        parts[worker] = [job for job in parts[worker] if job[0] > worker.at]
        worker.begin(parts[worker])

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return what goes into the results."""
        from edge_retrieval.provenance import cpu_model, versions

        readers = {
            kind: dict(sorted(counts.items()))
            | {"slowest_s": round(self.slowest.get(kind, 0.0), 2)}
            for kind, counts in sorted(self.counts.items())
        }
        return {
            "question": "does any file bring a reader down?",
            "seed": self.args.seed,
            "inputs": len(self.jobs),
            "seconds": round(seconds),
            "workers": self.args.workers,
            "limits": {"memory_bytes": MEMORY, "processor_seconds": SECONDS, "silent_s": SILENT},
            "peak_rss_bytes": self.peak,
            "findings": {kind: sum(c[kind] for c in self.counts.values()) for kind in KINDS},
            "readers": readers,
            "host": cpu_model(),
            "versions": versions(),
        }


def again(args: argparse.Namespace) -> None:
    """Read one input here and now; its bytes stay for a look."""
    if any(os.environ.get(name) != value for name, value in FRUGAL.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | FRUGAL)
    prepare_process()
    from fuzz_readers import Readers

    with tempfile.TemporaryDirectory() as kept:
        reader = Readers(Path(kept), args.real).all[args.only[0]]
        limited()
        data = reader.input_of(args.seed, args.input)
        args.keep.mkdir(parents=True, exist_ok=True)
        place = args.keep / f"{args.seed}-{reader.name}-{args.input}.bin"
        place.write_bytes(data)
        print(f"{len(data)} bytes: {place}", flush=True)
        folder = Path(kept) / "input"
        folder.mkdir()
        outcome, told = read_one(reader, data, folder)
        print(told + outcome)
        sys.exit(outcome in KINDS)


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", action="append", help="readers to feed; repeatable")
    parser.add_argument("--input", type=int, help="read this input of --only again, and no other")
    parser.add_argument("--real", type=Path, help="a folder whose small files are spoilt, too")
    parser.add_argument(
        "--keep", type=Path, default=ROOT / "runs" / "fuzz", help="for what is found"
    )
    parser.add_argument("--out", type=Path, help="results; by default only where nothing is --only")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    if args.input is not None:
        again(args)
    run = Run(args, jobs_of(shares_of(args), args.inputs))
    print(f"seed {args.seed}, {len(run.jobs)} inputs, {args.workers} workers", flush=True)
    began = time.monotonic()
    run.go()
    told = run.summary(time.monotonic() - began)
    for kind, counts in told["readers"].items():
        print(f"{kind:18}", ", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"peak memory {run.peak / 1e6:.0f} MB, {told['seconds']} s;", told["findings"])
    out = args.out or (None if args.only else RESULTS)
    if out is not None:
        out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if run.findings else 0)


if __name__ == "__main__":
    main()
