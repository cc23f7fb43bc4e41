"""Is anything lost when disks fill up, permissions go, signals come, memory or the clock fails?

Question: real commands (index, search with its pages and records, watch, bench, register remove,
compact, merge and verify --repair) meet a fault: the disk is full, or the permission lost, from any
one of their writes on; SIGINT or SIGTERM comes at any step or at any moment; memory ends; the clock
jumps; others read and write meanwhile. Is the register clean afterwards, with all that was
committed? Does the same command, given again, make the same register as if nothing had happened?
Does each end with the exit code that is right and one line and a hint, and leave nothing behind?

    python benchmarks/faults.py --seed 1

Kills without warning, damaged bytes and truncations are in `crashes.py`. Registers are small: the
question is where bytes go, not what they mean. Writes benchmarks/results/faults.json, and ends with
1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads cannot be forked

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import fault_company, fault_scenes  # noqa: E402
from benchmarks.fault_scenes import Scene  # noqa: E402

OUT = Path(__file__).parent / "results" / "faults.json"
FAULTS = {
    "full disk": 80,
    "failing disk": 16,
    "small disk": 28,
    "small files": 16,
    "permission": 36,
    "signal at a step": 52,
    "signal at a moment": 40,
    "memory": 14,
    "clock": 16,
}
"""Faults of each kind; `fault_company` adds its own."""

CODES = {"SIGINT": 130, "SIGTERM": 143}
DAY = 86_400.0
JUMPS = (-3650 * DAY, -DAY, -3600.0, 3600.0, DAY, 3650 * DAY)
"""Seconds by which the clock jumps."""

MB = 1 << 20
MEMORY = (160 * MB, 640 * MB)
"""Of address space, of which the libraries alone take most: below, numpy ends the process."""


class Playing:
    """One fault after the other, each in a folder of its own.

    Attributes:
        faults: What was lost, a line each.
        codes: How commands ended, by kind.
    """

    def __init__(self, work: Path, scenes: dict[str, Scene], seed: int) -> None:
        self.work = work
        self.scenes = scenes
        self.rng = np.random.default_rng([seed, 5])
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.codes: dict[str, Counter[int]] = {}
        self.met: Counter[str] = Counter()

    def any_scene(self) -> Scene:
        """Return one of the scenes; those with many steps more often."""
        scenes = list(self.scenes.values())
        weights = np.array([len(scene.steps) for scene in scenes], float)
        return scenes[int(self.rng.choice(len(scenes), p=weights / weights.sum()))]

    def fault(
        self, kind: str, scene: Scene, told: dict[str, Any], codes: tuple[int, ...], *,
        tidy: bool = True, place: Path | None = None,
        command: Callable[[Scene, Path, dict[str, Any]], fault_scenes.Done] | None = None,
    ) -> str:  # fmt: skip
        """Play a scene with a fault; note and return what was lost, "" if nothing."""
        folder = (place or self.work) / "fault"
        shutil.copytree(scene.base, folder)
        done = (command or played)(scene, folder, told)
        loosen(folder)
        wrong = fault_scenes.loss_after(scene, folder, done, codes=codes, tidy=tidy)
        self.note(kind, f"{scene.name} {json.dumps(told)}", done.code, wrong)
        shutil.rmtree(folder)
        return wrong

    def note(self, kind: str, what: str, code: int, wrong: str) -> None:
        """Count a fault, and tell what came of it."""
        self.counts[kind] += 1
        self.codes.setdefault(kind, Counter())[code] += 1
        print(f"{kind}: {what}: exit code {code}: {wrong or 'ok'}", flush=True)
        if wrong:
            self.faults.append(f"{kind}: {what}: {wrong}")


def played(scene: Scene, folder: Path, told: dict[str, Any]) -> fault_scenes.Done:
    """Play a scene behind the layer."""
    return fault_scenes.run(scene.words, folder, told)


def started_anew(scene: Scene, folder: Path, told: dict[str, Any]) -> fault_scenes.Done:
    """The same in a process that is not forked: what loads libraries meets the fault, too."""
    with fault_scenes.start(scene.words, folder, told) as process:
        return fault_scenes.ended(process)


def loosen(folder: Path) -> None:
    """Give back the room that was taken, if it was."""
    ballast = folder.parent / "ballast"
    ballast.unlink(missing_ok=True)


def steps_that_fail(playing: Playing, kind: str, count: int) -> None:
    """Let steps fail: by kind because the disk is full, broken, or may not be written any more."""
    error = {"full disk": "ENOSPC", "failing disk": "EIO", "permission": "EACCES"}[kind]
    chosen = set()
    while len(chosen) < count:
        scene = playing.any_scene()
        at, once = int(playing.rng.integers(len(scene.steps))), bool(playing.rng.integers(2))
        chosen.add((scene.name, at, once))
    for name, at, once in sorted(chosen):
        scene = playing.scenes[name]
        told = {"at": at, "error": error, "once": once}
        # Where nothing may be removed either, what is left over goes with the next command.
        tidy = kind == "full disk"
        playing.fault(kind, scene, told, (scene.expected, 1), tidy=tidy)


def signals_at_steps(playing: Playing, count: int) -> None:
    """Send signals just before and just after steps."""
    for number in range(count):
        scene = playing.any_scene()
        at = int(playing.rng.integers(len(scene.steps)))
        name = ("SIGINT", "SIGTERM")[number % 2]
        told = {"at": at, "signal": name, "after": bool(playing.rng.integers(2))}
        playing.fault("signal at a step", scene, told, (CODES[name],))


def signals_at_moments(playing: Playing, count: int) -> None:
    """Send signals at random moments of a command's time."""
    seconds: dict[str, float] = {}
    for number in range(count):
        scene = playing.any_scene()
        name = ("SIGINT", "SIGTERM")[number % 2]

        def interrupted(scene: Scene, folder: Path, told: dict[str, Any]) -> fault_scenes.Done:
            began = time.monotonic()
            reading, writing = os.pipe()
            process = fault_scenes.start(
                scene.words, folder, {"ready": writing}, pass_fds=[writing]
            )
            os.close(writing)
            os.read(reading, 1)
            os.close(reading)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(told["wait"])
            process.send_signal(getattr(signal, told["signal"]))
            done = fault_scenes.ended(process)
            if done.code == scene.expected:
                seconds[scene.name] = time.monotonic() - began
            return done

        wait = round(float(playing.rng.uniform(0, seconds.get(scene.name, 0.8))), 4)
        codes = (CODES[name], scene.expected)
        playing.fault(
            "signal at a moment", scene, {"signal": name, "wait": wait}, codes, command=interrupted
        )


@contextlib.contextmanager
def small_disk(work: Path) -> Iterator[Path | None]:
    """Mount a disk of 16 MB; None where that is not permitted."""
    place = work / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    try:
        yield place if done else None
    finally:
        if done:
            subprocess.run(["umount", str(place)], check=True)


def small_disks(playing: Playing, count: int) -> None:
    """Fill a real disk but for a little room."""
    with small_disk(playing.work) as place:
        if place is None:
            print("small disk: not permitted here: left out", flush=True)
            return

        def filled(scene: Scene, folder: Path, told: dict[str, Any]) -> fault_scenes.Done:
            (folder / "tmp").mkdir(exist_ok=True)
            free = shutil.disk_usage(folder).free
            with (folder.parent / "ballast").open("wb") as file:
                file.write(bytes(max(0, free - told["room"])))
            return fault_scenes.run(scene.words, folder)

        for _ in range(count):
            scene = playing.any_scene()
            room = int(playing.rng.integers(1, 80)) * 4096
            codes = (scene.expected, 1)
            playing.fault("small disk", scene, {"room": room}, codes, place=place, command=filled)


def small_files(playing: Playing, count: int) -> None:
    """Let no file grow beyond a size."""
    for _ in range(count):
        scene = playing.any_scene()
        limit = int(2 ** playing.rng.uniform(9, 17))
        told = {"limits": {"RLIMIT_FSIZE": limit}}
        playing.fault("small files", scene, told, (scene.expected, 1))


def little_memory(playing: Playing, count: int) -> None:
    """Give commands little address space."""
    least, most = MEMORY
    for size in np.linspace(least, most, count).astype(int).tolist():
        scene = playing.scenes[("index more", "search")[int(playing.rng.integers(2))]]
        told = {"limits": {"RLIMIT_AS": size}}
        codes = (scene.expected,) if size >= fault_scenes.ENOUGH else (scene.expected, 1)
        playing.fault("memory", scene, told, codes, command=started_anew)


def clocks(playing: Playing, count: int) -> None:
    """Let the clock jump at a step."""
    for _ in range(count):
        scene = playing.any_scene()
        told = {
            "at": int(playing.rng.integers(len(scene.steps))),
            "jump": float(playing.rng.choice(JUMPS)),
        }
        playing.fault("clock", scene, told, (scene.expected,))


def run(counts: dict[str, int], seed: int, *, company: bool = True) -> dict[str, Any]:
    """Play as many faults of each kind as are asked for; return what came of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        work = Path(scratch)
        playing = Playing(work, fault_scenes.make_scenes(work), seed)
        for kind, count in counts.items():
            if kind in ("full disk", "failing disk", "permission"):
                steps_that_fail(playing, kind, count)
            else:
                KINDS[kind](playing, count)
        if company:
            fault_company.meet(playing)
        peaks = fault_company.peaks(playing) if company else {}
    return {
        "seed": seed,
        "faults": sum(playing.counts.values()),
        "lost": len(playing.faults),
        "kinds": dict(playing.counts),
        "exit codes": {
            kind: {str(code): times for code, times in sorted(codes.items())}
            for kind, codes in playing.codes.items()
        },
        "steps": {name: len(scene.steps) for name, scene in playing.scenes.items()},
        "peak resident, B": peaks,
        "losses": playing.faults,
        "seconds": round(time.monotonic() - started, 1),
    }


KINDS: dict[str, Callable[[Playing, int], None]] = {
    "small disk": small_disks,
    "small files": small_files,
    "signal at a step": signals_at_steps,
    "signal at a moment": signals_at_moments,
    "memory": little_memory,
    "clock": clocks,
}


def share(kinds: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Play the kinds in processes side by side; return what came of all of them."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-parts-") as scratch:
        running = []
        for place in range(given.jobs):
            out = Path(scratch) / f"{place}.json"
            command = [sys.executable, __file__, "--seed", str(given.seed), "--out", str(out)]
            command += ["--times", str(given.times)]
            for kind in kinds[place :: given.jobs]:
                command += ["--only", kind]
            running.append((subprocess.Popen(command), out))
        parts = []
        for process, out in running:
            process.wait()
            parts.append(json.loads(out.read_bytes()))
    merged: dict[str, Any] = {"seed": given.seed, "faults": 0, "lost": 0, "kinds": {}}
    merged |= {"exit codes": {}, "steps": {}, "peak resident, B": {}, "losses": []}
    for part in parts:
        merged["faults"] += part["faults"]
        merged["lost"] += part["lost"]
        merged["losses"] += part["losses"]
        for name in ("kinds", "exit codes", "steps", "peak resident, B"):
            merged[name] |= part[name]
    return merged | {"seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=[*FAULTS, "company"])
    parser.add_argument("--times", type=float, default=1.0, help="so many times as many faults")
    parser.add_argument("--jobs", type=int, default=1, help="processes that play side by side")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    only = given.only or [*FAULTS, "company"]
    if given.jobs > 1:
        result = share(only, given)
    else:
        counts = {k: round(n * given.times) for k, n in FAULTS.items() if k in only}
        result = run(counts, given.seed, company="company" in only)
    from edge_retrieval.provenance import host, now, versions
    from edge_retrieval.report import save_json

    facts = {"made": now(), "host": host(), "versions": versions()}
    if given.only is None or given.out != OUT:  # else it is not all that is asked
        save_json(given.out, {"question": (__doc__ or "").splitlines()[0], **facts, **result})
    print(json.dumps(result, indent=1))
    if result["lost"]:
        raise SystemExit("something was lost: see above")


if __name__ == "__main__":
    main()
