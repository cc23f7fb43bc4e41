"""What `benchmarks/peers.py` says of a contestant, tried on small scripts that stand for one."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

READ = """
import os, sys
sheets, store = sys.argv[1:]
names = sorted(os.listdir(sheets))
def keep(names):
    with open(os.path.join(store, "names"), "w") as file:
        file.write("\\n".join(names))
def is_broken(name):
    return b"PNG" not in open(os.path.join(sheets, name), "rb").read(8)
sound = [name for name in names if not is_broken(name)]
broken = [name for name in names if is_broken(name)]
"""
GOOD = READ + "keep(sound)\nfor name in broken: print('skipped', name, file=sys.stderr)"
SEARCH = "import sys; print(open(sys.argv[2] + '/names').read())"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts import one another as files of one folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def fake(index: str, search: str = SEARCH, name: str = "fake") -> Any:
    """Return a contestant that keeps the names of what it has read in a file of its store."""
    from peer_runs import Command, Contestant

    def told(program: str) -> Callable[[Path, Path], Command]:
        return lambda given, store: Command(
            [sys.executable, "-S", "-c", program, str(given), str(store)]
        )

    def kept(store: Path) -> set[str]:
        return set((store / "names").read_text().splitlines())

    return Contestant(name, ("fake",), sys.executable, told(index), told(search), kept)


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number in range(30):
        (folder / f"s{number:02d}.png").write_bytes(b"\x89PNG" + bytes([number]) * 40)
    return folder


@pytest.fixture
def folders(drawings: Path, tmp_path: Path) -> Any:
    from peer_given import folders_of

    return folders_of(drawings, 12, tmp_path / "work")


# --- a broken file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "verdict", "code", "kept"),
    [
        ("keep(sound); print('skipped', *broken, file=sys.stderr); sys.exit(3)",
         "skipped it and named it", 3, 12),
        ("keep(sound); print('done: 12')", "skipped it in silence", 0, 12),
        ("keep(names); print('0.9', *broken)", "took it for a whole one", 0, 12),
        ("keep(sound[:5]); raise OSError('cannot identify ' + broken[0])",
         "crashed, named it", 1, 5),
        ("keep(sound[:5]); raise OSError('image file is truncated')",
         "crashed, did not name it", 1, 5),
        ("raise OSError('image file is truncated')", "crashed, did not name it", 1, 0),
        ("sys.exit(f'error: {broken[0]} cannot be read')", "stopped, named it", 1, 0),
        ("keep(sound[:10])", "lost 2 others, did not name it", 0, 10),
        ("keep(sound[:3]); os.kill(os.getpid(), 9)", "crashed, did not name it", -9, 3),
    ],
)  # fmt: skip
def test_what_becomes_of_a_folder_with_a_broken_file_is_told(
    folders: Any, tmp_path: Path, then: str, verdict: str, code: int, kept: int
) -> None:
    from peer_runs import try_broken

    found = try_broken(
        fake(READ + then), folders.broken["no image"], tmp_path / "store", limit=60.0
    )
    assert (found["verdict"], found["code"], found["kept"]) == (verdict, code, kept)
    assert found["sound"] == 12
    assert found["traceback"] == ("OSError" in then)


def test_a_flipped_bit_is_refused_answered_or_fatal() -> None:
    from peer_libraries import judge_flipped
    from peer_runs import Run

    def done(code: int, *rows: int) -> Run:
        return Run({"code": code}, json.dumps({"rows": rows, "seconds": []}), "")

    assert judge_flipped(done(0, 1, 2), done(0, 1, 2)) == "answered as before, in silence"
    assert judge_flipped(done(0, 1, 2), done(0, 2, 1)) == "answered otherwise, in silence"
    assert judge_flipped(done(0, 1, 2), done(1)) == "refused"
    assert judge_flipped(done(0, 1, 2), done(-11)) == "crashed"


# --- what all are given --------------------------------------------------------------------------


def test_sheets_are_evenly_spaced_and_one_more_is_broken(folders: Any, drawings: Path) -> None:
    from peer_given import folders_of

    taken = sorted(path.name for path in folders.sheets.iterdir())
    assert taken == [f"s{number * 30 // 12:02d}.png" for number in range(12)]
    assert sorted(path.name for path in folders.few.iterdir()) == taken
    whole = folders.drawing.read_bytes()
    for way, content in (("cut off", whole[: len(whole) // 2]), ("no image", b"no image" * 64)):
        broken = folders.broken[way]
        names = sorted(path.name for path in broken.folder.iterdir())
        assert [name for name in names if name != broken.name] == taken
        assert 0 < names.index(broken.name) < 12
        assert (broken.folder / broken.name).read_bytes() == content
    with pytest.raises(SystemExit, match="holds 30 files"):
        folders_of(drawings, 31, drawings.parent / "more")


def test_what_is_installed_is_counted_with_all_that_it_requires_and_no_extras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peer_install import told

    requires = {
        "peer-a": ["peer_b>=1", "peer-absent", "peer-x ; extra == 'gpu'"],
        "peer-b": ["peer-c"],
        "peer-c": ["Peer.A"],
        "peer-x": [],
    }
    for number, (name, needs) in enumerate(requires.items(), 1):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_bytes(b"#" * 1000 * number)
        (tmp_path / f"{module}.pyc").write_bytes(b"#" * 5)
        about = tmp_path / f"{module}-{number}.0.dist-info"
        about.mkdir()
        lines = [f"Requires-Dist: {need}" for need in needs]
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {number}.0"]
        (about / "METADATA").write_text("\n".join([*head, *lines]) + "\n")
        (about / "RECORD").write_text(f"{module}.py,,\n{module}.pyc,,\nnot/there.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = told("peer-a")
    assert found == {
        "versions": {"peer-a": "1.0"}, "bytes": 6000, "distributions": 3, "missing": []
    }  # fmt: skip
    both = told("peer-a+peer-x+peer-absent")
    assert (both["bytes"], both["distributions"]) == (10_000, 4)
    assert both["missing"] == ["peer-absent"]
    assert both["versions"] == {"peer-a": "1.0", "peer-x": "4.0"}


# --- what a run costs ----------------------------------------------------------------------------

HOLDER = """
import sys
held = bytearray(b"1" * 50_000_000)
print("ready", flush=True)
sys.stdin.read()
"""
ABOVE = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], stdin=0, stdout=1)
below.wait()
"""


@LINUX
def test_the_memory_of_all_processes_below_is_counted() -> None:
    from meter import held

    before = held(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-S", "-c", ABOVE, HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as above:
        assert above.stdout is not None and above.stdin is not None
        assert above.stdout.readline() == b"ready\n"
        assert held(os.getpid()) - before > 50_000_000
        above.stdin.close()


LEAVES = """
import os, sys
ours, theirs = os.pipe()
if os.fork() == 0:
    os.close(theirs)
    os.read(ours, 1)  # nothing: its parent has ended
    open(sys.argv[2] + "/names", "w").write("late")
    os._exit(0)
print("said", flush=True)
os._exit(7)
"""


@LINUX
def test_what_a_command_leaves_running_is_waited_for(tmp_path: Path) -> None:
    from peer_runs import run

    done = run(fake(LEAVES).index(tmp_path, tmp_path), tmp_path, limit=60.0)
    assert (done.code, done.stdout, done.stderr) == (7, "said\n", "")
    assert (tmp_path / "names").read_text() == "late"
    assert set(done.sample) == {"cpu", "wall", "peak", "total", "code"}
    assert done.sample["total"] >= done.sample["peak"] > 0


def test_a_command_that_does_not_end_or_does_not_exist_cannot_run(tmp_path: Path) -> None:
    from peer_runs import CannotRunError, Command, run

    endless = Command([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    with pytest.raises(CannotRunError, match="took more than"):
        run(endless, tmp_path, limit=0.3)
    with pytest.raises(CannotRunError, match="FileNotFoundError"):
        run(Command([str(tmp_path / "nothing")]), tmp_path, limit=60.0)


@pytest.mark.parametrize(
    ("index", "search", "why"),
    [
        ("import sys; sys.exit('no network here')", SEARCH, "index ends with 1: no network here"),
        (READ + "keep(sound[:11])", SEARCH, "keeps 11 of 12"),
        (GOOD, "raise ValueError('no such index')", "search ends with 1: ValueError"),
        (GOOD, "print('s00.png')", "search answers with 1 of the files"),
    ],
)
def test_who_does_not_do_what_is_measured_is_told_why(
    folders: Any, tmp_path: Path, index: str, search: str, why: str
) -> None:
    from peer_runs import CannotRunError, measure_round

    with pytest.raises(CannotRunError, match=why):
        measure_round(fake(index, search), folders, tmp_path / "store", searches=1, limit=60.0)


# --- rounds and the result -----------------------------------------------------------------------


def test_rounds_of_other_settings_are_refused_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    from peer_runs import Kept

    path = tmp_path / "rounds" / "one.json"
    first = Kept(path, {"sheets": 12})
    first.content |= {"rounds": [{"index": {}}], "cannot": "no network"}
    first.save()
    again = Kept(path, {"sheets": 12})
    assert again.content["rounds"] == [{"index": {}}] and "cannot" not in again.content
    with pytest.raises(SystemExit, match="other settings"):
        Kept(path, {"sheets": 13})


@pytest.fixture
def measured(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[argparse.Namespace, list[str]]:
    """Let peers.py believe in two contestants, one of which cannot run; return its arguments."""
    import peers

    order: list[str] = []

    def measure_round(one: Any, *given: Any, **options: Any) -> dict[str, Any]:
        from peer_runs import measure_round as really

        order.append(one.name)
        return really(one, *given, **options)

    everyone = [fake(GOOD, name="a"), fake("import sys; sys.exit('no')", name="b"),
                fake(GOOD, name="c")]  # fmt: skip
    takes = {"versions": {"fake": "1"}, "bytes": 2_000_000, "distributions": 1, "missing": []}
    networks = tmp_path / "measured" / "networks"
    (networks / "bundle").mkdir(parents=True)
    (networks / "network.onnx").write_bytes(b"network")
    monkeypatch.setattr(peers, "contestants", lambda *_: everyone)
    monkeypatch.setattr(peers, "libraries", lambda *_: [])
    monkeypatch.setattr(peers, "installed", lambda every: {one.name: takes for one in every})
    monkeypatch.setattr(peers, "measure_round", measure_round)
    args = argparse.Namespace(
        work=networks.parent, drawings=drawings, sheets=12, rounds=1, searches=2, limit=60.0,
        only=["a"], out=tmp_path / "peers.json",
    )  # fmt: skip
    return args, order


def test_a_run_goes_on_with_what_is_missing_in_turn_and_tells_who_could_not(
    measured: tuple[argparse.Namespace, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    import peers
    from peer_contestants import LEFT_OUT

    args, order = measured
    peers.measure(args, "python", "python")
    assert order == ["a"] and not args.out.exists()
    assert "not measured yet: b, c" in capsys.readouterr().err
    args.only, args.rounds = None, 3
    peers.measure(args, "python", "python")
    assert order == ["a", "c", "c", "a", "a", "c"]
    kept = json.loads((args.work / "rounds" / "b.json").read_text())
    assert kept["cannot"] == "index ends with 1: no" and "broken" not in kept
    result = json.loads(args.out.read_text())
    assert [row["name"] for row in result["rows"]] == ["a", "c"]
    assert [len(row["rounds"]) for row in result["rows"]] == [3, 3]
    assert all(len(one["search"]) == 2 for row in result["rows"] for one in row["rounds"])
    assert result["rows"][0]["broken"]["cut off"]["verdict"] == "took it for a whole one"
    assert result["rows"][0]["broken"]["no image"]["verdict"] == "skipped it and named it"
    assert result["left_out"]["b"] == "index ends with 1: no"
    assert set(LEFT_OUT) < set(result["left_out"])
    args.only = ["d"]
    with pytest.raises(SystemExit, match="no 'd'; there are: a, b, c"):
        peers.measure(args, "python", "python")


def test_a_result_becomes_tables_and_none_is_told_while_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import render

    monkeypatch.setattr(render, "RESULTS", tmp_path)
    assert render.peers().startswith("*Not measured yet")
    sample = {"wall": 2.0, "cpu": 1.5, "peak": 9e7, "total": 1e8, "code": 0}
    longer = sample | {"wall": 4.0}
    outcome = {"code": 3, "named": True, "taken": False, "traceback": False, "kept": 12,
               "sound": 12, "verdict": "skipped it and named it", "said": ""}  # fmt: skip
    install = {"versions": {"fake": "1.2"}, "bytes": 2_000_000, "distributions": 1}
    row = {"name": "we", "ours": True, "note": "cuts", "install": install,
           "broken": {"cut off": outcome, "no image": outcome},
           "rounds": [{"index": one, "search": [sample, one]} for one in (sample, longer, longer)],
           }  # fmt: skip
    library = {"name": "lib", "ours": False, "note": "", "install": install, "vectors": 14,
               "flipped": {"verdict": "refused", "code": 1, "said": ""},
               "rounds": [{"search": [sample], "seconds": [0.001, 0.003, 0.002]}]}  # fmt: skip
    result = {
        "sheets": 12, "source": "a", "rounds": 3, "searches": 2, "rows": [row],
        "libraries": [library], "left_out": {"immich": "a set of containers"},
        "network": {"backbone": "n", "size": 128, "dim": 128, "weights": "random"},
        "cores": 2, "host": {"cpu": "one"},
    }  # fmt: skip
    (tmp_path / "peers.json").write_text(json.dumps(result))
    told = render.peers()
    assert "| **we** | 4.0 s | 1.5 s | 100 MB | 2000 ms | 1500 ms | 100 MB | 2 MB |" in told
    assert "| **we**: cut off | skipped it and named it | 3 | 12 of 12 |" in told
    assert "| lib | 2000 ms | 1500 ms | 100 MB | 2.000 ms | 2 MB | refused |" in told
    assert "- immich: a set of containers." in told and "fake 1.2" in told


# --- the same network for all --------------------------------------------------------------------


def test_every_contestant_gets_a_network_that_computes_the_same(tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from peer_network import RCLIP_MODEL, SIZE, make_networks
    from peer_script import network

    bundle = make_networks(tmp_path, backbone="test_efficientnet", dim=8)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 1, SIZE, SIZE)).astype(np.float32)

    def on_runtime(path: Path, given: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        [rows] = session.run(None, {session.get_inputs()[0].name: given})
        return np.asarray(rows)

    expected = on_runtime(bundle.model, images)
    assert expected.shape == (2, 8)
    with torch.inference_mode():
        plain = torch.nn.functional.normalize(network(tmp_path / "torch")(torch.tensor(images)))
    large = images.repeat(2, axis=2).repeat(2, axis=3).repeat(3, axis=1)
    assert large.shape[1:] == (3, 256, 256)
    rclip = tmp_path / "rclip" / RCLIP_MODEL / "visual.onnx"
    fastembed = tmp_path / "fastembed" / "model.onnx"
    for found in (
        plain.numpy(), on_runtime(rclip, large), on_runtime(fastembed, images.repeat(3, axis=1)),
    ):  # fmt: skip
        assert np.allclose(found, expected, atol=1e-4)


def test_a_library_answers_with_the_nearest_vectors(tmp_path: Path) -> None:
    from peer_vectors import asked, libraries

    rows = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(tmp_path / "vectors.npy", rows)
    expected = sorted(range(40), key=lambda row: -float(rows[row] @ rows[0]))[:10]
    for way in ("numpy", "hnswlib"):
        libraries()[way][0](str(tmp_path), str(tmp_path / "vectors.npy"))
        found = asked(way, str(tmp_path), str(tmp_path / "vectors.npy"))
        assert found["rows"] == expected and len(found["seconds"]) == 100
