"""How peers.py runs a contestant, judges what it did with a broken file, and keeps its rounds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from edge_retrieval.report import load_json, save_json

METER = Path(__file__).parent / "meter.py"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
Sample = dict[str, float]


@dataclass(frozen=True)
class Command:
    """What to start.

    Attributes:
        words: The program and its arguments.
        folder: Where it is started; None: in the store.
        home: Added to the environment.
    """

    words: Sequence[str]
    folder: Path | None = None
    home: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """One way to index a folder and to search it.

    Attributes:
        name: As the table says it.
        packages: Distributions that have to be installed for it, in `python`.
        python: Its interpreter.
        index: From a folder of drawings and an empty store to what indexes them.
        search: From a drawing and a store to what prints the ten that are most alike.
        kept: From a store to the names of the files that can be found in it.
        given: A folder whose contents lie in the store before anything begins.
        note: What has to be known of it beside its figures.
    """

    name: str
    packages: tuple[str, ...]
    python: str
    index: Callable[[Path, Path], Command]
    search: Callable[[Path, Path], Command]
    kept: Callable[[Path], set[str]]
    given: Path | None = None
    note: str = ""

    def fresh(self, store: Path) -> None:
        """Make its store anew."""
        shutil.rmtree(store, ignore_errors=True)
        if self.given is None:
            store.mkdir(parents=True)
        else:
            shutil.copytree(self.given, store)


class Run(NamedTuple):
    """What became of a command: what it cost, and what it said."""

    sample: Sample
    stdout: str
    stderr: str

    @property
    def code(self) -> int:
        """The exit code; below 0 the signal that ended it."""
        return int(self.sample["code"])


class CannotRunError(Exception):
    """A contestant does not do here what it is measured at; its text says why."""


def run(command: Command, store: Path, *, limit: float) -> Run:
    """Run a command under the meter; end it with all that it started after `limit` seconds.

    Raises:
        CannotRunError: It took longer, or there is no such program.
    """
    with tempfile.TemporaryDirectory() as said:
        words = [sys.executable, "-S", str(METER), "--keep", said, *command.words]
        # Every interpreter takes its own packages, whatever this one was told to take.
        around = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        meter = subprocess.Popen(
            words, cwd=command.folder or store, env={**around, **OFFLINE, **command.home},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            told, failed = meter.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(meter.pid, signal.SIGKILL)
            meter.communicate()
            raise CannotRunError(f"took more than {limit:.0f} s") from None
        if meter.returncode:
            raise CannotRunError(last_line(failed))
        out, err = (
            Path(said, name).read_text(encoding="utf-8", errors="replace")
            for name in ("stdout", "stderr")
        )
    return Run(json.loads(told), out, err)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "said nothing"


# ------------------------------------------------------------------ a broken file


class Outcome(NamedTuple):
    """What became of a folder with a broken file in it.

    Attributes:
        code: The exit code.
        named: Whether the broken file was named on stderr.
        taken: Whether it can be found afterwards, as if it were whole.
        traceback: Whether a traceback was printed.
        kept: How many of the sound files can be found afterwards.
        sound: How many there are.
    """

    code: int
    named: bool
    taken: bool
    traceback: bool
    kept: int
    sound: int

    @property
    def verdict(self) -> str:
        """What happened, in a few words."""
        if self.kept == self.sound and self.taken:
            return "took it, and named it" if self.named else "took it for a whole one"
        if self.kept == self.sound:
            return "skipped it and named it" if self.named else "skipped it in silence"
        told = "named it" if self.named else "did not name it"
        if self.code == 0:
            return f"lost {self.sound - self.kept} others, {told}"
        return f"{'crashed' if self.traceback or self.code < 0 else 'stopped'}, {told}"


def judge(done: Run, broken: str, kept: set[str], sound: set[str]) -> Outcome:
    """Judge what a contestant did with a folder that holds a broken file.

    Args:
        done: Its run.
        broken: Name of the file; part of no other name.
        kept: Names of what can be found afterwards.
        sound: Names of the other files.
    """
    # On stdout a name can be a hit of a search: rclip's indexing ends with one.
    return Outcome(
        done.code,
        broken in done.stderr,
        broken in kept,
        "Traceback (most recent call last)" in done.stderr,
        len(kept & sound),
        len(sound),
    )


# ------------------------------------------------------------------ what is measured


class Broken(NamedTuple):
    """A folder with some sound sheets and a file called `name` that is not."""

    folder: Path
    name: str


class Folders(NamedTuple):
    """What all contestants are given; the broken ones by what is wrong with their file."""

    sheets: Path
    few: Path  # of them, all sound
    broken: Mapping[str, Broken]
    drawing: Path


def indexed(one: Contestant, sheets: Path, store: Path, *, limit: float) -> Run:
    """Index a folder into a fresh store."""
    one.fresh(store)
    return run(one.index(sheets, store), store, limit=limit)


def measure_round(
    one: Contestant, folders: Folders, store: Path, *, searches: int, limit: float
) -> dict[str, Any]:
    """Index the folder once and search it some times.

    Raises:
        CannotRunError: It fails, does not find all files again, or answers with less than ten.
    """
    done = require_all(one, folders.sheets, store, limit=limit)
    wanted = {path.name for path in folders.sheets.iterdir()}
    found = []
    for _ in range(searches):
        asked = run(one.search(folders.drawing, store), store, limit=limit)
        if asked.code:
            raise CannotRunError(f"search ends with {asked.code}: {last_line(asked.stderr)}")
        if (hits := sum(name in asked.stdout for name in wanted)) < min(10, len(wanted)):
            raise CannotRunError(f"search answers with {hits} of the files")
        found.append(asked.sample)
    return {"index": done.sample, "search": found}


def require_all(one: Contestant, sheets: Path, store: Path, *, limit: float) -> Run:
    """Index sound sheets, all of which must be found afterwards.

    Raises:
        CannotRunError: It fails, or loses some.
    """
    done = indexed(one, sheets, store, limit=limit)
    if done.code:
        raise CannotRunError(f"index ends with {done.code}: {last_line(done.stderr)}")
    wanted = {path.name for path in sheets.iterdir()}
    if lost := wanted - one.kept(store):
        raise CannotRunError(
            f"index ends well but keeps {len(wanted) - len(lost)} of {len(wanted)}"
        )
    return done


def try_broken(one: Contestant, broken: Broken, store: Path, *, limit: float) -> dict[str, Any]:
    """Index a folder with a broken file; return the outcome and the last words.

    Raises:
        CannotRunError: It takes too long.
    """
    done = indexed(one, broken.folder, store, limit=limit)
    sound = {path.name for path in broken.folder.iterdir()} - {broken.name}
    try:
        kept = one.kept(store)
    except (OSError, ValueError):  # it has left nothing, or nothing whole
        kept = set()
    outcome = judge(done, broken.name, kept, sound)
    return {**outcome._asdict(), "verdict": outcome.verdict, "said": last_line(done.stderr)}


class Kept:
    """The rounds of one contestant, in a file of their own, so that a run can be gone on with."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what there is; refuse what was measured with other settings."""
        self.path = path
        self.content: dict[str, Any] = {"settings": dict(settings), "rounds": []}
        if path.exists():
            told: Any = load_json(path)
            if told["settings"] != self.content["settings"]:
                raise SystemExit(
                    f"{path} was measured with other settings; give another folder, or remove it"
                )
            told.pop("cannot", None)  # it is tried again
            self.content = told

    def save(self) -> None:
        """Write all, whole or not at all."""
        save_json(self.path, self.content)
