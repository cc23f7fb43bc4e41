"""What `faults.py` lets commands do, and how it tells whether anything was lost."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads cannot be forked

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import fault_layer  # noqa: E402
from edge_retrieval.calibration import digest_of  # noqa: E402
from edge_retrieval.errors import EdgeRetrievalError  # noqa: E402
from edge_retrieval.register import Register, is_register  # noqa: E402
from edge_retrieval.register.repairing import faults_of  # noqa: E402
from edge_retrieval.sources import open_source  # noqa: E402
from tests import fakes  # noqa: E402

LAYER = Path(__file__).with_name("fault_layer.py")
REGISTER = "register"
HELD, NEW, OTHERS = 24, 80, 8  # designs in the register, of the source, of the register to merge
PATIENCE = 120.0
ENOUGH = 512 << 20
"""Bytes of memory with which index and search work."""

SIDES = ("-wal", "-shm", "-journal")  # of a database whose log found no room
UNFINISHED = r"\.(part|partial|new|making)$|\.part\.onnx$|\.(new|old)-[0-9a-f]{12}(/|$)|^tmp/"
Content = dict[str, int]
"""Number of each design -> how many figures it has."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Scene:
    """A command, and what is there before.

    Attributes:
        name: Of the scene.
        words: The command; its folder is the working directory.
        base: Folder that is copied to begin with.
        damaged: The register is, to begin with.
        expected: The exit code when all is well.
        before: What the register held.
        after: What it holds when all is well.
        contents: `Register.contents` then.
        files: Names that may be there, before and after.
        steps: What the command changes on the disk, step by step.
    """

    name: str
    words: tuple[str, ...]
    base: Path
    damaged: bool = False
    expected: int = 0
    before: Content = field(default_factory=dict)
    after: Content = field(default_factory=dict)
    contents: str = ""
    files: frozenset[str] = frozenset()
    steps: list[str] = field(default_factory=list)


def run(words: Sequence[str], work: Path, told: Mapping[str, Any] | None = None) -> Done:
    """Run `edge-ret` in a folder, behind the layer, in a process of its own.

    It is forked from this one: what loads libraries only would take most of the time.
    """
    (work / "tmp").mkdir(exist_ok=True)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _run_here(words, work, {"root": str(work), **(told or {})}, out.fileno(), err.fileno())
        until = time.monotonic() + PATIENCE
        while (found := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        out.seek(0)
        err.seek(0)
        code = os.waitstatus_to_exitcode(found[1])
        return Done(code, out.read().decode(), err.read().decode())


def _run_here(
    words: Sequence[str], work: Path, told: dict[str, Any], out: int, err: int
) -> NoReturn:
    """Be the forked process: run the command, and end."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), write_through=True)  # type: ignore[type-var]
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), write_through=True)  # type: ignore[type-var]
        os.chdir(work)
        os.environ.update(surroundings(work))
        tempfile.tempdir = None
        sys.argv = ["edge-ret", *words]
        fault_layer.command(told)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def load_all() -> None:
    """Load what commands load, so that those which are forked need not."""
    import onnxruntime  # noqa: F401

    from edge_retrieval import evidence, indexing, preparing, search, watch  # noqa: F401
    from edge_retrieval.cli.commands import application

    application()


def surroundings(work: Path) -> dict[str, str]:
    """Return the environment of a command."""
    return {
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "EDGE_RET_CACHE": str(work / "cache"),
        "TMPDIR": str(work / "tmp"),
    }


def start(
    words: Sequence[str],
    work: Path,
    told: Mapping[str, Any] | None = None,
    *,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start `edge-ret` anew, as a user does; behind the layer, if something is told to it."""
    behind = ["-m", "edge_retrieval.cli"]
    if told is not None:
        behind = [str(LAYER), json.dumps({"root": str(work), **told})]
    (work / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *behind, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=work, env=os.environ | surroundings(work), pass_fds=tuple(pass_fds),
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for a command, not for ever."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += "\nTraceback: it did not end"
    return Done(process.returncode, out, err)


def content_of(folder: Path) -> Content:
    """Return what is in a register; nothing if there is none."""
    if not is_register(folder):
        return {}
    with Register.open(folder) as register:
        columns = register.columns
        figures = np.bincount(columns.design_of, minlength=len(columns.alive))
        return {
            columns.number(design): int(figures[design])
            for design in np.flatnonzero(columns.alive).tolist()
        }


def names_in(work: Path) -> frozenset[str]:
    """Return the names of all that is in a folder; epochs are left out of them."""
    found = set()
    for path in work.rglob("*"):
        name = path.relative_to(work).as_posix()
        if name.startswith("cache/networks/"):
            name = f"cache/networks/*{path.suffix if path.name.count('.') == 1 else path.name}"
        for kind in ("vectors-", "pictures-"):
            if path.name.startswith(kind):
                name = f"{path.parent.relative_to(work).as_posix()}/{kind}E{path.suffix}"
        found.add(name)
    return frozenset(found)


def drawings(folder: Path, first: int, count: int) -> None:
    """Write one drawing each of some designs, as a tree of classes."""
    for number in range(first, first + count):
        place = folder / f"{number % 4 + 1:02d}" / f"D{number:04d}"
        place.mkdir(parents=True)
        (place / "1.png").write_bytes(fakes.drawing(number, side=48))


def make_scenes(work: Path) -> dict[str, Scene]:
    """Make all scenes; each is played once undisturbed, to know what should come of it."""
    load_all()
    base = work / "base"
    base.mkdir()
    bundle = fakes.tiny_bundle(base / "bundle")
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    drawings(base / "sheets", HELD, NEW)
    (base / "query.png").write_bytes(fakes.drawing(1, 5, side=48))
    levels = ("class", "design")
    for name, first, count in ((REGISTER, 0, HELD), ("other", HELD + NEW, OTHERS)):
        drawings(work / name, first, count)
        with Register.create(base / name, bundle, levels) as register:
            register.add(open_source(work / name, kind="folder"), encoder, source=name)
    with Register.open(base / REGISTER) as register:
        register.remove(["D0003"])
    empty = Path(shutil.copytree(base, work / "empty"))
    shutil.rmtree(empty / REGISTER)
    bad = Path(shutil.copytree(base, work / "bad"))
    path = bad / REGISTER / "pictures-0.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    index = ("index", "sheets", "-o", REGISTER, "-j", "1")
    files = ("--html", "page.html", "--record", "record.json", "--csv", "citations.csv")
    watch = ("watch", "sheets", "--against", REGISTER, "--score-above", "0.5", "-j", "1")
    scenes = [
        Scene("index a new register", (*index, "--bundle", "bundle"), empty),
        Scene("index more", index, base),
        Scene("remove", ("register", "remove", REGISTER, "D0001", "D0002"), base),
        Scene("compact", ("register", "compact", REGISTER), base),
        Scene("merge", ("register", "merge", REGISTER, "other"), base),
        Scene("repair", ("register", "verify", REGISTER, "--repair"), bad, damaged=True),
        Scene("search", ("search", "query.png", "-r", REGISTER, *files), base),
        Scene("watch", watch, base),
    ]
    for scene in scenes:
        play(scene, work / "play")
    # Again, over what is there: the old content or the new one, and nothing between.
    for name in ("search", "watch"):
        again = next(scene for scene in scenes if scene.name == name)
        there = Path(shutil.copytree(work / "play" / name, work / f"{name} again"))
        scenes.append(Scene(f"{name} again", again.words, there))
        play(scenes[-1], work / "play")
    return {scene.name: scene for scene in scenes}


def play(scene: Scene, folder: Path) -> None:
    """Play a scene undisturbed."""
    work = Path(shutil.copytree(scene.base, folder / scene.name))
    names = names_in(work)
    if not scene.damaged:
        scene.before = content_of(work / REGISTER)
    steps = folder / f"{scene.name}.steps"
    done = run(scene.words, work, {"steps": str(steps)})
    if done.code != scene.expected:
        raise SystemExit(f"{scene.name}: it fails undisturbed: {done}")
    scene.steps = steps.read_text(encoding="utf-8").splitlines()
    scene.after = content_of(work / REGISTER)
    if scene.damaged:
        scene.before = scene.after
    with Register.open(work / REGISTER) as register:
        scene.contents = register.contents
    scene.files = names | names_in(work)


def loss_after(scene: Scene, work: Path, done: Done, *, codes: Sequence[int], tidy: bool) -> str:
    """Return what is wrong after a fault; "" if nothing.

    Args:
        scene: What was played.
        work: Its folder.
        done: How the command ended.
        codes: Exit codes that are right.
        tidy: Nothing may be left over even before the command is given again.
    """
    wrong = fault_of_words(done, codes) or fault_of_register(scene, work)
    if not wrong and tidy:
        wrong = leftovers(scene, work)
    if wrong:
        return wrong
    if scene.damaged or content_of(work / REGISTER) != scene.after or scene.before == scene.after:
        again = run(scene.words, work)
        if again.code != scene.expected:
            return f"again, it ends with {again.code}: {again.err[-300:]}"
    with Register.open(work / REGISTER) as register:
        if register.contents != scene.contents:
            return f"again, it makes another register: {len(register)} figures"
        if damages := register.verify():
            return f"again, verify: {damages[0]}"
    return fault_of_files(work, whole=True) or leftovers(scene, work, kept=not tidy)


def fault_of_words(done: Done, codes: Sequence[int]) -> str:
    """Return what is wrong with how a command ended and what it said."""
    if "Traceback" in done.err or "Exception ignored" in done.err:
        return f"a traceback ({done.code}): {done.err[-700:]}"
    if done.code not in codes:
        return f"exit code {done.code}: {done.err[-300:]}"
    if done.code == 1:
        lines = done.err.splitlines()[-2:]
        if [line.partition(" ")[0] for line in lines] != ["error:", "hint:"]:
            return f"no error and hint, but: {done.err[-300:]}"
    return ""


def fault_of_register(scene: Scene, work: Path) -> str:
    """Return what is wrong with the register, and the files, after a fault."""
    folder = work / REGISTER
    if not is_register(folder):
        return "the register is gone" if scene.before else fault_of_files(work)
    try:
        if faults := faults_of(folder):
            return "" if scene.damaged else f"verify: {faults[0]}"
        content = content_of(folder)
    except EdgeRetrievalError as error:
        return f"cannot be read: {error}"
    kept = scene.before.keys() & scene.after.keys()
    if lost := [n for n in kept if content.get(n, 0) < scene.before[n]]:
        return f"lost: {', '.join(sorted(lost))}"
    if strange := content.keys() - scene.before.keys() - scene.after.keys():
        return f"strange: {', '.join(sorted(strange))}"
    if scene.name == "remove" and content not in (scene.before, scene.after):
        return f"half removed: {len(content)} designs"
    return fault_of_files(work)


def fault_of_files(work: Path, *, whole: bool = False) -> str:
    """Return what is wrong with the pages, records and tables that were written.

    Args:
        work: Where they are.
        whole: What belongs together must be there together.
    """
    for path in [*work.glob("*.html"), *work.glob("watch/*.html")]:
        if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
            return f"{path.name} is half a page"
    for path in [*work.glob("*.json"), *work.glob("watch/*.json")]:
        try:
            told = json.loads(path.read_bytes())
        except ValueError as error:
            return f"{path.name}: {error}"
        if path.name == "watch.json" and told["sha256"] != digest_of(told):
            return "watch.json: another digest"
    for path in work.glob("*.csv"):
        if not path.read_bytes().endswith(b"\n"):
            return f"{path.name} is half a table"
    there = {path.name for path in work.glob("watch/watch.*")}
    if (whole or (work / "watch").exists()) and len(there) == 1:
        return f"of two files only {there}"
    return ""


def leftovers(scene: Scene, work: Path, *, kept: bool = False) -> str:
    """Return what is there that should not be.

    Args:
        scene: What was played.
        work: Its folder.
        kept: Nothing could be removed: what was being made may be there still.
    """
    left = {name for name in names_in(work) - scene.files if not name.endswith(SIDES)}
    if kept:
        left = {name for name in left if not re.search(UNFINISHED, name)}
    return f"left over: {', '.join(sorted(left)[:5])}" if left else ""
