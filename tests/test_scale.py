"""Indexing with workers: the register of one machine, whoever is killed at whatever moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edge_retrieval import cli
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import Encoder, load_encoder
from edge_retrieval.errors import ClusterError, ConfigError, DrawingError, MissingExtraError
from edge_retrieval.indexing import index
from edge_retrieval.limits import Limits, within
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import AddResult, Register
from edge_retrieval.scale import Engine, ProcessEngine, Spread, Spreading, embedding, shards, spread
from edge_retrieval.scale.dask_engine import DaskEngine
from edge_retrieval.scale.engines import Attempt, WorkerEndedError
from edge_retrieval.scale.spreading import recipe_for
from edge_retrieval.sources.design import Box, Design, Problem
from tests import fakes

ROOT = Path(__file__).parents[1]
KINDS = ("processes", "dask")

TRAPPED = '''
"""Loaded by every Python that starts with this folder on its path: a worker, here."""
import os, pathlib
from edge_retrieval.drawing import ready

HERE, CUT = pathlib.Path(__file__).parent, ready.make_ready

def make_ready(task, preprocessing):
    name = task.where.rpartition("/")[2]
    with open(HERE / "log", "a") as log:
        log.write(name + "\\n")
    for trap in HERE.glob(f"{name}.*"):
        if trap.suffix == ".once":
            trap.unlink()
        os._exit(9)
    return CUT(task, preprocessing)

ready.make_ready = make_ready
'''


@dataclass
class Traps:
    """What ends workers, and what they were given to cut."""

    folder: Path

    def set(self, name: str, *, once: bool = False) -> None:
        (self.folder / f"{name}.{'once' if once else 'ever'}").touch()

    def clear(self) -> None:
        for path in (*self.folder.glob("*.once"), *self.folder.glob("*.ever")):
            path.unlink()
        (self.folder / "log").unlink(missing_ok=True)

    @property
    def cut(self) -> list[str]:
        log = self.folder / "log"
        return sorted(log.read_text().split()) if log.exists() else []


@pytest.fixture(scope="module")
def all_traps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traps]:
    folder = tmp_path_factory.mktemp("traps")
    (folder / "sitecustomize.py").write_text(TRAPPED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
        yield Traps(folder)


@pytest.fixture
def traps(all_traps: Traps) -> Iterator[Traps]:
    all_traps.clear()
    yield all_traps
    all_traps.clear()


@pytest.fixture(scope="module")
def engines(all_traps: Traps) -> Iterator[Callable[[str], Engine]]:
    """Start an engine of two workers, once each."""
    made: dict[str, Engine] = {}
    settings = contextlib.ExitStack()

    def of(kind: str) -> Engine:
        if kind not in made:
            if kind == "dask":
                pytest.importorskip("distributed")
                import dask

                # As on a machine so busy that no worker starts in time for Dask to wait for it.
                late = {"distributed.deploy.lost-worker-timeout": "0s"}
                settings.enter_context(dask.config.set(late))
            made[kind] = ProcessEngine(2) if kind == "processes" else DaskEngine(workers=2)
        return made[kind]

    with settings:
        yield of
        for engine in made.values():
            engine.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", prefixes=(32,))


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> Encoder:
    return load_encoder(bundle)


class Inline:
    """An engine without processes: it embeds when it is asked how a shard went.

    Attributes:
        asked: Identities of shards, in order.
        most: So many were with it at once.
        before: Done before a shard is embedded; what it raises, the attempt does.
        after: Done after.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.asked: list[str] = []
        self.with_it = self.most = 0
        self.before: Callable[[Path, str], object] = lambda folder, identity: None
        self.after: Callable[[Path, str], object] = lambda folder, identity: None

    def embed(self, folder: Path, identity: str) -> Attempt:
        self.asked.append(identity)
        self.with_it += 1
        self.most = max(self.most, self.with_it)
        return InlineAttempt(self, folder, identity)

    def close(self) -> None:
        pass


@dataclass
class InlineAttempt:
    engine: Inline
    folder: Path
    identity: str

    def done(self) -> bool:
        return False

    def outcome(self) -> dict[str, Any]:
        self.engine.with_it -= 1
        self.engine.before(self.folder, self.identity)
        told = embedding.embed_shard(str(self.folder), self.identity)
        self.engine.after(self.folder, self.identity)
        return told


def added(
    register: Register,
    items: Iterable[Design | Problem],
    encoder: Encoder,
    engine: Engine,
    work: Path,
    *,
    shard: int = 3,
    track: Track = silent,
) -> AddResult:
    work.mkdir(exist_ok=True)
    recipe = recipe_for(work, register.bundle, encoder.backend)
    cutters = Spread(engine, work, recipe, shard=shard)
    return register.add(items, encoder, cutters=cutters, track=track)


def everything(register: Register) -> dict[str, Any]:
    """Return all that a register holds, row for row."""
    rows = range(register.figures_count)
    return {
        "contents": register.contents,
        "snapshot": register.snapshot,
        "vectors": register.vectors.tobytes(),
        "figures": register.figures(rows),
        "pictures": [register.picture(row) for row in rows],
        "designs": [register.design(figure.design) for figure in register.figures(rows)],
        "problems": register.problems(),
        "damage": register.verify(),
    }


def one_machine(
    folder: Path, bundle: Bundle, encoder: Encoder, *parts: Sequence[Design | Problem]
) -> tuple[dict[str, Any], list[AddResult]]:
    with Register.create(folder, bundle) as register:
        results = [register.add(part, encoder) for part in parts]
        return everything(register), results


def mixed() -> list[Design | Problem]:
    """Good sheets, broken ones, an empty one, copies, front pages, known boxes, a problem."""
    items: list[Design | Problem] = list(fakes.designs(10))
    two = fakes.drawing(50, figures=2)
    first, second = fakes.boxes(2)
    broken, empty = (
        fakes.sheet(data, name, where=f"made/{name}")
        for data, name in ((b"\x89PNG no more", "broken.png"), (b"", "empty.png"))
    )
    on_two = fakes.sheet(two, "two.png", where="made/two.png")
    front = fakes.sheet(b"never read", "front.png", role="front")
    items.insert(3, fakes.design(50, [front, broken, on_two, empty], stated_figures=3))
    items.insert(5, Problem("made/notes", "no drawing"))
    again = replace(broken, where="made/again.png")
    copies = fakes.designs(3)[2].sheets
    items.append(fakes.design("copies", [*copies, again, replace(on_two, boxes=(first, second))]))
    items.append(fakes.design("one box", [replace(on_two, boxes=(second,), captions=("rear",))]))
    items.append(fakes.design("no sheets", []))
    items.append(fakes.design("", [on_two]))
    items.append(fakes.design(3, [on_two], ("99", "99-99"), where="elsewhere"))
    return items


@pytest.mark.parametrize("shard", [1, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_the_register_is_that_of_one_machine_row_for_row(
    tmp_path: Path,
    bundle: Bundle,
    encoder: Encoder,
    engines: Callable[[str], Engine],
    traps: Traps,
    kind: str,
    shard: int,
) -> None:
    more = [replace(design, title="A new title") for design in fakes.designs(12)[8:]]
    one, results = one_machine(tmp_path / "one", bundle, encoder, mixed(), more)
    assert len(results[0].problems) == 7
    with Register.create(tmp_path / "many", bundle) as register:
        for part, result in zip((mixed(), more), results, strict=True):
            work = tmp_path / "work"
            assert added(register, part, encoder, engines(kind), work, shard=shard) == result
            # What the register holds goes to nobody.
            assert ("8-1.png" in traps.cut) == (part is not more)
            traps.clear()
        assert everything(register) == one


def test_shorter_vectors_are_those_of_one_machine(tmp_path: Path, bundle: Bundle) -> None:
    cut = bundle.cut(32)
    encoder = load_encoder(cut)
    one, [result] = one_machine(tmp_path / "one", cut, encoder, mixed())
    with Register.create(tmp_path / "many", cut) as register:
        assert added(register, mixed(), encoder, Inline(), tmp_path / "work") == result
        assert everything(register) == one


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_midway_changes_nothing(
    tmp_path: Path,
    bundle: Bundle,
    encoder: Encoder,
    engines: Callable[[str], Engine],
    traps: Traps,
    kind: str,
) -> None:
    one, [result] = one_machine(tmp_path / "one", bundle, encoder, fakes.designs(12))
    traps.set("7-1.png", once=True)
    with Register.create(tmp_path / "many", bundle) as register:
        assert added(register, fakes.designs(12), encoder, engines(kind), tmp_path / "w") == result
        assert everything(register) == one
    assert traps.cut.count("7-1.png") == 2
    assert traps.cut.count("0-1.png") == 1  # of another shard


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_that_ends_its_workers_is_named_and_costs_nothing_else(
    tmp_path: Path,
    bundle: Bundle,
    encoder: Encoder,
    engines: Callable[[str], Engine],
    traps: Traps,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(spread, "TRIES", 1)
    traps.set("4-1.png")
    copy = replace(fakes.designs(5)[4], number="copy", where="made/copy")
    with Register.create(tmp_path / "many", bundle) as register:
        items = [*fakes.designs(6), copy]
        result = added(register, items, encoder, engines(kind), tmp_path / "work", shard=1)
        assert [problem.where for problem in result.problems] == ["made/4-1.png"] * 2
        for problem in result.problems:
            assert problem.reason.startswith("each of 1 processes that embedded it ended")
            assert ("exit code 9" in problem.reason) == (kind == "processes")
        assert register.figures_count == 7 * 3 - 2
        traps.clear()
        again = added(register, items, encoder, engines(kind), tmp_path / "work", shard=1)
        assert (again.figures_added, again.problems) == (2, [])
        assert register.problems() == []


def test_a_sheet_is_blamed_after_three_tries_alone(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    engine, alone = Inline(), []

    def deadly(folder: Path, identity: str) -> None:
        with (folder / shards.asked_name(identity)).open("rb") as file:
            _, messages = shards.read_asked(file)
            names = [shards.task_of(message).where for message in messages]
        if "made/1-1.png" in names:
            alone.append(len(names))
            (folder / shards.begun_name(identity)).touch()
            raise WorkerEndedError(" (killed)")

    engine.before = deadly
    with Register.create(tmp_path / "r", bundle) as register:
        result = added(register, fakes.designs(3), encoder, engine, tmp_path / "work")
        assert [problem.where for problem in result.problems] == ["made/1-1.png"]
        assert "each of 3 processes that embedded it ended (killed)" in result.problems[0].reason
        assert register.figures_count == 8
    assert alone == [9, 9, 9, 5, 2, 1, 1, 1]


def test_no_sheet_is_blamed_where_workers_end_with_nothing_to_do(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    engine = Inline()
    gone = False

    def ends(folder: Path, identity: str) -> None:
        nonlocal gone
        if gone:
            raise WorkerEndedError(" (SIGKILL)")
        gone = True  # the first question, which an empty shard asks

    engine.before = ends
    with Register.create(tmp_path / "r", bundle) as register:
        with pytest.raises(ClusterError, match="ended before it had anything to embed"):
            added(register, fakes.designs(1, 1), encoder, engine, tmp_path / "work")
        assert (register.designs_count, register.problems()) == (0, [])


def test_a_shard_that_was_lost_with_the_worker_of_another_is_not_blamed(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Inline()
    lost = 0

    def loses(folder: Path, identity: str) -> None:
        nonlocal lost
        if identity != engine.asked[0] and lost < 10:  # which is asked before any shard
            lost += 1
            raise WorkerEndedError("")

    engine.before = loses
    with Register.create(tmp_path / "r", bundle) as register:
        result = added(register, fakes.designs(2, 1), encoder, engine, tmp_path / "w", shard=1)
        assert (result.figures_added, result.problems, lost) == (2, [], 10)
        lost = 0
        monkeypatch.setattr(spread, "UNTOUCHED", 5)
        with pytest.raises(ClusterError, match="5 workers have ended"):
            added(register, fakes.designs(9, 1), encoder, engine, tmp_path / "w", shard=1)


def test_no_more_shards_are_with_the_workers_than_two_each_and_one(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    engine = Inline(workers=2)
    read: list[str] = []
    furthest = 0

    def noted() -> Iterator[Design]:
        for design in fakes.designs(40, 1):
            read.append(design.number)
            yield design

    def committed(items: Iterable[Any], *_: object) -> Iterator[Any]:
        nonlocal furthest
        for done, item in enumerate(items):
            furthest = max(furthest, len(read) - done)
            yield item

    with Register.create(tmp_path / "r", bundle) as register:
        added(register, noted(), encoder, engine, tmp_path / "w", shard=2, track=committed)
        assert register.designs_count == 40
    assert engine.most <= 5
    assert furthest <= 2 * 5 + 1
    assert len(engine.asked) == 1 + 20


def interrupted(after: int) -> Callable[..., Iterator[Any]]:
    """Return a track that is stopped after so many designs."""

    def track(items: Iterable[Any], *_: object) -> Iterator[Any]:
        for done, item in enumerate(items, start=1):
            if done > after:
                raise KeyboardInterrupt
            yield item

    return track


STOPPED = """
import os, sys
from pathlib import Path
from edge_retrieval.encoder import load_encoder
from edge_retrieval.register import Register, adding
from edge_retrieval.scale import ProcessEngine
from tests import fakes, test_scale

commits = []
def moment(name):
    commits.append(name)
    if commits.count("committed") == 2:
        os._exit(9)

adding.moment = moment
adding.COMMIT_FIGURES = 8
register = Register.open(Path(sys.argv[1]))
encoder = load_encoder(register.bundle)
test_scale.added(register, fakes.designs(30, 2), encoder, ProcessEngine(2), Path(sys.argv[2]))
"""


def test_a_caller_that_was_killed_goes_on_with_what_its_workers_left(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, engines: Callable[[str], Engine], traps: Traps
) -> None:
    one, _ = one_machine(tmp_path / "one", bundle, encoder, fakes.designs(30, 2))
    work = tmp_path / "work"
    Register.create(tmp_path / "many", bundle).close()
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "many"), str(work)]
    # It returns once the workers have ended as well, who share what it says.
    done = subprocess.run(command, cwd=ROOT, timeout=120, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
    with Register.open(tmp_path / "many") as register:
        assert register.figures_count == 16
        recipe = recipe_for(work, bundle, encoder.backend)
        kept = {key for key, _ in shards.keys_done(work, recipe)}
        assert len(kept) >= 16
        committed = {figure.sheet for figure in register.figures(range(16))}
        all_sheets = [sheet for design in fakes.designs(30, 2) for sheet in design.sheets]
        keys = {
            sheet.name: shards.key_of(shards.SheetTask(sheet.read(), "", single=True))
            for sheet in all_sheets
        }
        missing = [name for name in keys if keys[name] not in kept and name not in committed]
        assert missing
        traps.clear()
        result = added(register, fakes.designs(30, 2), encoder, engines("processes"), work)
        assert result.figures_added == 44
        assert traps.cut == sorted(missing)
        whole = everything(register)
        assert whole.pop("snapshot") != one.pop("snapshot")  # it names the history
        assert whole == one


def stopped_midway(register: Register, encoder: Encoder, work: Path) -> list[Path]:
    """Index until the first design is done; return the results that are left, in order."""
    engine = Inline()
    with pytest.raises(KeyboardInterrupt):
        added(register, fakes.designs(4, 2), encoder, engine, work, shard=1, track=interrupted(2))
    done = [work / shards.done_name(identity) for identity in engine.asked[1:]]
    assert register.figures_count == 0
    return [path for path in done if path.exists()]


def damaged(data: bytes, how: str) -> bytes:
    if how == "empty":
        return b""
    if how == "short":
        return data[:-40]
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("how", ["one bit", "short", "empty"])
def test_a_result_that_was_damaged_is_made_again(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, how: str
) -> None:
    one, _ = one_machine(tmp_path / "one", bundle, encoder, fakes.designs(4, 2))
    work = tmp_path / "work"
    with Register.create(tmp_path / "r", bundle) as register:
        kept = stopped_midway(register, encoder, work)
        assert len(kept) >= 2
        kept[0].write_bytes(damaged(kept[0].read_bytes(), how))
        engine = Inline()
        added(register, fakes.designs(4, 2), encoder, engine, work, shard=1)
        assert len(engine.asked) == 1 + 4 - (len(kept) - 1)
        assert everything(register) == one


@pytest.mark.parametrize("how", ["one bit", "gone", "of another shard"])
def test_a_result_that_is_not_what_was_asked_for_is_asked_for_again(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, how: str
) -> None:
    one, _ = one_machine(tmp_path / "one", bundle, encoder, fakes.designs(4, 2))
    engine = Inline()
    seen: list[str] = []

    def spoil(folder: Path, identity: str) -> None:
        seen.append(identity)
        path = folder / shards.done_name(identity)
        if seen.count(identity) > 1 or len(set(seen)) != 3:
            return
        if how == "gone":
            path.unlink()
        elif how == "one bit":
            path.write_bytes(damaged(path.read_bytes(), how))
        else:
            path.write_bytes((folder / shards.done_name(seen[1])).read_bytes())

    engine.after = spoil
    with Register.create(tmp_path / "r", bundle) as register:
        added(register, fakes.designs(4, 2), encoder, engine, tmp_path / "work", shard=1)
        assert everything(register) == one
    assert len(engine.asked) == 1 + 4 + 1


def other_bundle(tmp_path: Path, bundle: Bundle) -> tuple[Bundle, str]:
    return fakes.tiny_bundle(tmp_path / "other", golden=3), "onnx"


def shorter_vectors(tmp_path: Path, bundle: Bundle) -> tuple[Bundle, str]:
    return bundle.cut(32), "onnx"


def other_runtime(tmp_path: Path, bundle: Bundle) -> tuple[Bundle, str]:
    pytest.importorskip("openvino")
    return bundle, "openvino"


@pytest.mark.parametrize("other", [other_bundle, shorter_vectors, other_runtime])
def test_results_of_another_encoder_are_not_used(
    tmp_path: Path,
    bundle: Bundle,
    encoder: Encoder,
    other: Callable[[Path, Bundle], tuple[Bundle, str]],
) -> None:
    with Register.create(tmp_path / "r", bundle) as register:
        assert stopped_midway(register, encoder, tmp_path / "work")
    changed, backend = other(tmp_path, bundle)
    engine = Inline()
    with Register.create(tmp_path / "q", changed) as register:
        encoder = load_encoder(changed, backend=backend)
        added(register, fakes.designs(4, 2), encoder, engine, tmp_path / "work", shard=1)
        assert register.figures_count == 8
    assert len(engine.asked) == 1 + 4


def test_results_of_another_cut_are_not_used_and_a_worker_that_cuts_otherwise_is_refused(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    with Register.create(tmp_path / "r", bundle) as register:
        assert stopped_midway(register, encoder, work)
    newer = replace(recipe_for(work, bundle, "onnx"), cut=shards.CUT_VERSION + 1)
    assert list(shards.keys_done(work, newer)) == []
    with (
        pytest.raises(ClusterError, match="runs another version"),
        Spread(Inline(), work, newer, shard=1),
    ):
        pass


def test_the_limits_of_the_caller_hold_for_its_workers(
    tmp_path: Path,
    bundle: Bundle,
    encoder: Encoder,
    engines: Callable[[str], Engine],
    traps: Traps,
) -> None:
    items = [fakes.designs(1, 1)[0], fakes.design(9, [fakes.sheet(fakes.drawing(9, side=400))])]
    with within(Limits(pixels=100_000)), Register.create(tmp_path / "r", bundle) as register:
        result = added(register, items, encoder, engines("processes"), tmp_path / "work")
        assert [problem.where for problem in result.problems] == ["made/1.png"]
        assert "--max-pixels" in result.problems[0].reason
    with Register.open(tmp_path / "r") as register:
        result = added(register, items, encoder, engines("processes"), tmp_path / "work")
        assert result.figures_added == 1


def test_a_worker_that_does_not_see_the_work_folder_is_told(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    told = embedding.embed_shard(str(tmp_path / "elsewhere"), "0" * 64)
    with pytest.raises(ClusterError, match="does not see") as caught:
        embedding.raise_told(told)
    assert "--work" in caught.value.hint

    engine = Inline()  # whose disk has the same path, and is another one
    engine.after = lambda folder, identity: (folder / shards.done_name(identity)).unlink()
    with Register.create(tmp_path / "r", bundle) as register, pytest.raises(ClusterError) as caught:
        added(register, fakes.designs(1), encoder, engine, tmp_path / "work")
    assert "nothing is seen of it here" in str(caught.value)


def test_what_was_asked_for_is_not_embedded_where_its_bytes_have_changed(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    engine = Inline()

    def change(folder: Path, identity: str) -> None:
        path = folder / shards.asked_name(identity)
        if len(engine.asked) > 1:
            path.write_bytes(damaged(path.read_bytes(), "one bit"))

    engine.before = change
    with Register.create(tmp_path / "r", bundle) as register, pytest.raises(ClusterError):
        added(register, fakes.designs(3, 1), encoder, engine, tmp_path / "work")


def test_an_error_of_ours_in_a_worker_is_raised_with_its_traceback(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(embedding.ready, "make_ready", wrong)
    with (
        Register.create(tmp_path / "r", bundle) as register,
        pytest.raises(RuntimeError, match="ZeroDivisionError"),
    ):
        added(register, fakes.designs(1), encoder, Inline(), tmp_path / "work")


def test_a_missing_extra_of_a_drawing_ends_the_job_as_on_one_machine(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    item = fakes.design(1, [fakes.sheet(b"%PDF-1.4", "1.pdf")])
    with (
        Register.create(tmp_path / "r", bundle) as register,
        pytest.raises(MissingExtraError, match="'pdf'"),
    ):
        added(register, [item], encoder, Inline(), tmp_path / "work")


def test_a_copy_that_changed_since_it_was_read_is_a_problem(
    tmp_path: Path, bundle: Bundle, encoder: Encoder
) -> None:
    """Its bytes are not kept: they are read again where a copy has to be cut after all."""
    data = fakes.drawing(1, figures=2)
    answers = iter([data, b"other bytes"])
    single = fakes.design(1, [fakes.sheet(data, single=True)])
    cut = fakes.design(2, [replace(fakes.sheet(data, boxes=fakes.boxes(2)), read=answers.__next__)])
    with Register.create(tmp_path / "r", bundle) as register:
        result = added(register, [single, cut], encoder, Inline(), tmp_path / "work")
        assert [problem.reason for problem in result.problems] == ["changed while it was read"]


# ------------------------------------------------------------------ whole jobs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of six designs, one of them broken."""
    for design in fakes.designs(6, 2):
        folder = tmp_path / "designs" / design.labels[-1] / design.number
        folder.mkdir(parents=True)
        for sheet in design.sheets:
            (folder / sheet.name).write_bytes(sheet.read())
    (folder / "broken.png").write_bytes(b"\x89PNG no more")
    return tmp_path / "designs"


def test_a_job_leaves_nothing_but_the_register(
    tmp_path: Path, source: Path, bundle: Bundle, all_traps: Traps
) -> None:
    one = index(source, tmp_path / "one", bundle=bundle.folder)
    work = tmp_path / "work"
    spreading = Spreading("processes", work, workers=2, shard=2)
    assert index(source, tmp_path / "many", bundle=bundle.folder, spread=spreading) == one
    assert not work.exists()
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    again = index(source, tmp_path / "many", spread=spreading)
    assert (again.unchanged, len(again.problems)) == (12, 1)
    assert [path.name for path in work.iterdir()] == ["notes.txt"]
    with Register.open(tmp_path / "one") as first, Register.open(tmp_path / "many") as second:
        assert everything(first) == everything(second)


def test_the_workers_of_a_scheduler_that_runs_already_are_used(
    tmp_path: Path,
    source: Path,
    bundle: Bundle,
    engines: Callable[[str], Engine],
) -> None:
    engine = engines("dask")
    address = engine._client.scheduler.address  # type: ignore[attr-defined]
    one = index(source, tmp_path / "one", bundle=bundle.folder)
    spreading = Spreading("dask", tmp_path / "work", scheduler=address, shard=2)
    assert index(source, tmp_path / "many", bundle=bundle.folder, spread=spreading) == one
    assert engine._client.submit(int, "1").result() == 1  # type: ignore[attr-defined]


def test_a_cluster_of_this_machine_is_heard_on_its_loopback_alone(
    engines: Callable[[str], Engine],
) -> None:
    engines("dask")
    import psutil

    own = psutil.Process()
    heard = [
        connection.laddr.ip
        for process in (own, *own.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert heard
    assert set(heard) == {"127.0.0.1"}


def test_a_scheduler_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from edge_retrieval.scale import dask_engine

    monkeypatch.setattr(dask_engine, "PATIENCE", 0.2)
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskEngine("tcp://127.0.0.1:9")


@pytest.mark.parametrize("address", ["", "10.0.0.1:8786", "http://127.0.0.1:8786", "tcp://"])
def test_what_is_no_address_of_a_scheduler_is_told_at_once(address: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ClusterError, match="no scheduler answers at") as told:
        DaskEngine(address)
    assert "tcp://10.0.0.1:8786" in told.value.hint


def test_another_program_at_the_address_of_a_scheduler_is_told() -> None:
    pytest.importorskip("distributed")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 4)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ClusterError, match=r"no scheduler answers .*: something else does"):
            DaskEngine(f"tcp://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which signals are blocked")
def test_workers_on_this_machine_are_not_told_of_ctrl_c() -> None:
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    engine = DaskEngine(workers=1)
    try:
        workers = [
            one
            for one in psutil.Process().children(recursive=True)
            if "spawn_main" in " ".join(one.cmdline())
        ]
        assert workers
        for one in workers:
            status = Path(f"/proc/{one.pid}/status").read_text(encoding="ascii")
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked & 1 << (signal.SIGINT - 1)
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        engine.close()


def test_a_cluster_of_this_machine_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distributed = pytest.importorskip("distributed")

    def fails(**_: object) -> None:
        raise RuntimeError("Cluster failed to start: Nanny failed to start worker process")

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    with pytest.raises(ClusterError, match=r"no cluster of 2 workers starts .* worker process"):
        DaskEngine(workers=2)


def test_one_job_at_a_time_is_at_work_in_a_folder(tmp_path: Path, bundle: Bundle) -> None:
    first = Spreading("processes", tmp_path / "work", workers=1)
    second = first(bundle, "onnx")
    with first(bundle, "onnx"), pytest.raises(ClusterError, match="another job"):
        second.__enter__()


def test_a_bundle_in_the_work_folder_that_was_cut_short_is_copied_again(
    tmp_path: Path, bundle: Bundle
) -> None:
    recipe = recipe_for(tmp_path, bundle, "onnx")
    (tmp_path / recipe.bundle / "model.onnx").write_bytes(b"")
    assert recipe_for(tmp_path, bundle, "onnx") == recipe
    assert Bundle.open(tmp_path / recipe.bundle).fingerprint == bundle.fingerprint


@pytest.mark.parametrize(
    ("engine", "settings", "says"),
    [
        ("ray", {}, "no engine 'ray'"),
        ("processes", {"workers": 0}, "0 workers"),
        ("processes", {"shard": 0}, "shards of 0"),
        ("processes", {"scheduler": "tcp://10.0.0.1:8786"}, "knows no scheduler"),
        ("dask", {"scheduler": "tcp://10.0.0.1:8786", "workers": 2}, "which has its own"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, engine: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Spreading(engine, tmp_path / "work", **settings)


def test_without_the_extra_the_engine_dask_says_which_one_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match="indexing on a cluster needs") as caught:
        Spreading("dask", tmp_path / "work")
    assert caught.value.hint == "pip install 'edge-retrieval[scale]'"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge-ret", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def test_the_command_line_indexes_with_workers(
    tmp_path: Path, source: Path, bundle: Bundle, call: Callable[..., Any], all_traps: Traps
) -> None:
    out = tmp_path / "register"
    words = ("index", source, "-o", out, "--bundle", bundle.folder, "--json")
    code, told, _ = call(*words, "--engine", "processes", "--workers", 2, "--shard", 2)
    assert code == 3  # a broken drawing
    assert json.loads(told)["figures_added"] == 12
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".work")]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--workers", "2"], "ask for them: --engine processes, or --engine dask"),
        (["--work", "w"], "ask for them: --engine processes, or --engine dask"),
        (["--engine", "processes", "--jobs", "2"], "say how many workers: --workers"),
        (["--engine", "spark"], "choose from processes, dask"),
    ],
)
def test_the_command_line_refuses_what_it_would_have_to_ignore(
    tmp_path: Path, source: Path, call: Callable[..., Any], words: list[str], hint: str
) -> None:
    code, told, said = call("index", source, "-o", tmp_path / "register", *words)
    assert (code, told) == (1, "")
    assert said.splitlines()[-1] == f"hint: {hint}"
    assert not (tmp_path / "register").exists()


def test_processes_end_with_their_engine(
    tmp_path: Path, bundle: Bundle, encoder: Encoder, all_traps: Traps
) -> None:
    engine = ProcessEngine(2)
    with contextlib.closing(engine), Register.create(tmp_path / "r", bundle) as register:
        added(register, fakes.designs(4, 1), encoder, engine, tmp_path / "work", shard=1)
        processes = list(engine._crew._processes)
        assert processes
    assert all(process.poll() is not None for process in processes)


def test_a_sheet_that_is_single_and_one_that_is_cut_have_keys_of_their_own() -> None:
    task = shards.SheetTask(b"bytes", "here")
    others = [
        replace(task, data=b"other"),
        replace(task, single=True),
        replace(task, boxes=(Box(0, 0, 1, 1),)),
    ]
    assert len({shards.key_of(one) for one in (task, *others)}) == 4
    assert shards.key_of(replace(task, where="there")) == shards.key_of(task)
    error = shards.Made(error="torn", hint="mend it")
    with pytest.raises(DrawingError, match="there: torn"):
        error.for_sheet("there")
