"""What `faults.py` lets several processes do at once, and commands that are told to end."""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import fault_scenes  # noqa: E402
from benchmarks.fault_scenes import REGISTER, Done, content_of, ended, start  # noqa: E402
from edge_retrieval.register import Register  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.faults import Playing

WRITERS = ("index more", "compact", "merge", "remove", "repair")
AT_ONCE = "another process is writing"
ROUNDS = 5
"""Of each kind of company."""


def meet(playing: Playing) -> None:
    """Let commands meet each other, and be told to end."""
    for kind, meeting in (
        ("two writers at once", two_writers),
        ("two makers at once", two_makers),
        ("two watchers at once", two_watchers),
        ("a reader beside a writer", reader),
        ("a session that refreshes", session),
    ):
        for number in range(ROUNDS):
            _met(playing, kind, str(number), lambda place, to=meeting: to(playing, place))
    for kind, going in (("bench is told to end", bench), ("serve is told to end", serve)):
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            _met(playing, kind, name, lambda place, to=going, of=name: to(playing, place, of))


def _met(playing: Playing, kind: str, what: str, meeting: Callable[[Path], str]) -> None:
    folder = Path(shutil.copytree(playing.scenes["index more"].base, playing.work / "fault"))
    wrong = meeting(folder)
    playing.note(kind, what, 0, wrong)
    shutil.rmtree(folder)


def _both(commands: Sequence[Sequence[str]], folder: Path) -> list[Done]:
    running = [start(words, folder) for words in commands]
    done = []
    for process in running:
        with process:
            done.append(ended(process))
    return done


def two_writers(playing: Playing, folder: Path) -> str:
    """Two commands write in one register: each does its work, or says that it has to wait."""
    names = [str(name) for name in playing.rng.choice(WRITERS, 2, replace=False)]
    scenes = [playing.scenes[name] for name in names]
    for scene, done in zip(scenes, _both([s.words for s in scenes], folder), strict=True):
        if wrong := fault_scenes.fault_of_words(done, (0, 1)):
            return f"{names}: {wrong}"
        if done.code and AT_ONCE not in done.err:
            return f"{names}: {done.err[-300:]}"
        if done.code and (again := fault_scenes.run(scene.words, folder)).code:
            return f"{names}: again: {again.err[-300:]}"
    expected = dict(playing.scenes["index more"].before)
    for name in names:
        after, before = playing.scenes[name].after, playing.scenes[name].before
        expected |= after
        if name == "remove":
            gone = before.keys() - after.keys()
            expected = {number: n for number, n in expected.items() if number not in gone}
    if "remove" in names:
        for number in playing.scenes["remove"].before.keys() - playing.scenes["remove"].after:
            expected.pop(number, None)
    return _state(folder, expected)


def _state(folder: Path, expected: dict[str, int]) -> str:
    """Return what is wrong with a register that should hold so much."""
    with Register.open(folder / REGISTER) as register:
        if damages := register.verify():
            return damages[0]
    content = content_of(folder / REGISTER)
    return "" if content == expected else f"{len(content)} designs, not {len(expected)}"


def two_makers(playing: Playing, folder: Path) -> str:
    """Two commands make a register in one place: it becomes one, and one waits or adds nothing."""
    scene = playing.scenes["index a new register"]
    shutil.rmtree(folder / REGISTER)
    for done in _both([scene.words, scene.words], folder):
        if wrong := fault_scenes.fault_of_words(done, (0, 1)):
            return wrong
    again = fault_scenes.run(scene.words, folder)
    if again.code:
        return again.err[-300:]
    return _state(folder, scene.after) or fault_scenes.leftovers(scene, folder)


def two_watchers(playing: Playing, folder: Path) -> str:
    """Two commands tell into one folder: what one has told, the other does not replace."""
    scene = playing.scenes["watch"]
    for done in _both([scene.words, scene.words], folder):
        if wrong := fault_scenes.fault_of_words(done, (0, 1)):
            return wrong
    wrong = fault_scenes.fault_of_files(folder, whole=True)
    return wrong or fault_scenes.leftovers(scene, folder)


def reader(playing: Playing, folder: Path) -> str:
    """Search while another process adds, then compacts: each answer is whole."""
    words = ("search", "query.png", "-r", REGISTER, "--json")
    for name in ("index more", "remove", "compact"):
        with start(playing.scenes[name].words, folder) as process:
            while process.poll() is None:
                found = fault_scenes.run(words, folder)
                if found.code:
                    return f"a search beside {name}: {found.err[-300:]}"
                [result] = json.loads(found.out)["results"]
                if len(result["hits"]) != 10 or result["hits"][0]["score"] < 0.9:
                    return f"a search beside {name}: {found.out[:300]}"
            done = ended(process)
        if done.code:
            return f"{name} beside searches: {done.err[-300:]}"
    gone = playing.scenes["remove"].before.keys() - playing.scenes["remove"].after
    after = playing.scenes["index more"].after
    return _state(folder, {number: n for number, n in after.items() if number not in gone})


def session(playing: Playing, folder: Path) -> str:
    """Refresh and search in one session while other processes add, remove and compact."""
    command = [sys.executable, __file__, "--session", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=folder, env=os.environ | fault_scenes.surroundings(folder),
    ) as process:  # fmt: skip
        for name in ("index more", "remove", "compact"):
            done = fault_scenes.run(playing.scenes[name].words, folder)
            if done.code:
                process.kill()
                return f"{name} beside a session: {done.err[-300:]}"
        out, err = process.communicate("end\n", timeout=fault_scenes.PATIENCE)
    if process.returncode:
        return f"the session: {err[-500:]}"
    told: dict[str, Any] = json.loads(out)
    right = told["designs"] == len(content_of(folder / REGISTER)) and told["ascending"]
    return "" if right else f"the session saw {out}"


def _session(folder: Path) -> None:
    """Be the session: refresh and search until told to end, then once more; tell what was seen."""
    from edge_retrieval import Session

    seen = []
    with Session(folder / REGISTER) as held:
        ends = False
        while True:
            held.refresh()
            seen.append(held.register.generation)
            [result] = held.search([folder / "query.png"], k=5)
            assert len(result.hits) == 5
            if ends:
                break
            ends = bool(select.select([sys.stdin], [], [], 0)[0])
        told = {"designs": held.register.designs_count, "ascending": seen == sorted(seen)}
    print(json.dumps({**told, "searches": len(seen), "generations": len(set(seen))}))


def bench(playing: Playing, folder: Path, name: str) -> str:
    """A bench that is told to end while it searches among made vectors leaves none of them."""
    words = ("bench", "query.png", "-r", REGISTER, "--only", "search_cost", "-o", "bench.json")
    with _anew(words, folder) as process:
        until = time.monotonic() + fault_scenes.PATIENCE
        while not list((folder / "tmp").glob("edge-ret-bench-*/*")):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                return f"it makes no vectors: {ended(process).err[-300:]}"
            time.sleep(0.01)
        time.sleep(float(playing.rng.uniform(0, 0.5)))
        return _told(process, name) or _left(folder / "tmp") or _left(folder, "bench*")


def serve(playing: Playing, folder: Path, name: str) -> str:
    """A server that is told to end does, at once, and leaves nothing."""
    with _anew(("serve", "-r", REGISTER, "--port", "0"), folder) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not re.search(r"http://127\.0\.0\.1:\d+/", line):
            process.kill()
            return f"it does not serve: {line}{ended(process).err[-300:]}"
        time.sleep(float(playing.rng.uniform(0, 0.3)))
        code = 143 if name == "SIGHUP" else 0  # which it passes on as SIGTERM
        wrong = _told(process, name, code) or _left(folder / "tmp")
    return wrong or _state(folder, playing.scenes["index more"].before)


def _anew(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    return start(words, folder, {"root": str(folder)})


def _told(process: subprocess.Popen[str], name: str, code: int = 0) -> str:
    """Send a signal; return what is wrong with how the process ends."""
    number = getattr(signal, name)
    process.send_signal(number)
    return fault_scenes.fault_of_words(ended(process), (code or 128 + number,))


def _left(folder: Path, pattern: str = "*") -> str:
    left = [path.name for path in folder.glob(pattern)]
    return f"left over: {', '.join(left)}" if left else ""


def peaks(playing: Playing) -> dict[str, int]:
    """Return the most memory in bytes that index and search hold with the bundle that ships."""
    folder = Path(shutil.copytree(playing.scenes["index more"].base, playing.work / "fault"))
    found = {}
    for words in (("index", "sheets", "-o", "big"), ("search", "query.png", "-r", "big")):
        told = folder / "peak"
        with start(words, folder, {"peak": str(told)}) as process:
            done = ended(process)
        assert not done.code, done.err
        peak = found[words[0]] = int(told.read_text(encoding="ascii"))
        wrong = "" if peak < fault_scenes.ENOUGH else "more than it may"
        playing.note("memory with the bundle that ships", f"{words[0]} held {peak}", 0, wrong)
    shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--session", type=Path, required=True)
    _session(parser.parse_args().session)
