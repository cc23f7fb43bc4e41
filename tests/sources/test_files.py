"""Files are found in folders and archives alike, and nothing hides, loops or hangs."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edge_retrieval.errors import DrawingError
from edge_retrieval.sources import compressed
from edge_retrieval.sources.compressed import Inflater
from edge_retrieval.sources.design import Problem, iso_date
from edge_retrieval.sources.files import Group, walk

TREE = {"a/x.png": b"ax", "a/b/y.png": b"aby", "z.png": b"z"}


def contents(items):
    """Return bytes by folder and name; a problem fails the test."""
    found = {}
    for group in items:
        assert isinstance(group, Group), group
        for entry in group.entries:
            found["/".join((*group.parts, entry.name))] = entry.read()
    return found


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"])
def test_a_tree_is_the_same_in_a_folder_and_in_any_archive(suffix, tmp_path, made):
    source = tmp_path / f"tree{suffix}"
    if not suffix:
        made.lay(source, TREE)
    elif suffix == ".zip":
        source.write_bytes(made.zipped(TREE))
    else:
        packing = {".tar": "", ".tgz": "gz"}.get(suffix, suffix[5:])
        source.write_bytes(made.tarred(TREE, f"w:{packing}"))
    assert contents(walk(source)) == TREE


def test_archives_nest_four_deep_and_no_deeper(tmp_path, made):
    data = made.zipped({"x.png": b"x"})
    for level in range(3):
        data = (made.tarred if level % 2 else made.zipped)({f"{level}.zip": data})
        if level % 2 == 0:
            continue
        data = made.zipped({"t.tar": data})
    deep = tmp_path / "deep.zip"
    deep.write_bytes(data)
    [problem] = walk(deep)
    assert isinstance(problem, Problem)
    assert "more than 4 archives deep" in problem.reason


def test_a_folder_in_an_archive_of_its_own_name_is_one_folder(tmp_path, made):
    made.lay(tmp_path, {"chairs/d1.zip": made.zipped({"d1/x.png": b"x"})})
    [group] = walk(tmp_path)
    assert group.parts == ("chairs", "d1")


def test_hidden_files_are_passed_over(tmp_path, made):
    junk = {".hidden/x.png": b"", "__MACOSX/._x.png": b"", ".DS_Store": b"", "Thumbs.db": b""}
    made.lay(tmp_path / "folder", junk | TREE)
    (tmp_path / "t.zip").write_bytes(made.zipped(junk | TREE))
    assert contents(walk(tmp_path / "folder")) == TREE
    assert contents(walk(tmp_path / "t.zip")) == TREE


def test_a_link_back_to_a_folder_above_is_reported_not_followed(tmp_path, made):
    made.lay(tmp_path, TREE)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    problems = [item for item in walk(tmp_path) if isinstance(item, Problem)]
    assert [problem.where for problem in problems] == [str(tmp_path / "a" / "loop")]


def test_a_pipe_and_a_broken_link_are_reported_not_opened(tmp_path, made):
    made.lay(tmp_path, TREE)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    problems = [item for item in walk(tmp_path) if isinstance(item, Problem)]
    assert {problem.where for problem in problems} == {
        str(tmp_path / "pipe.png"),
        str(tmp_path / "gone.png"),
    }


@pytest.mark.parametrize("name", ["t.zip", "t.tar", "t.tar.gz", "t.tar.xz"])
@pytest.mark.parametrize("data", [b"", b"not an archive at all" * 40])
def test_what_is_no_archive_is_a_problem(name, data, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    items = list(walk(path))
    if data:
        assert [type(item) for item in items] == [Problem]
        assert items[0].where == str(path)
    else:
        assert all(isinstance(item, Problem) for item in items)


@pytest.mark.parametrize("name", ["t.zip", "t.tar", "t.tar.gz"])
def test_an_archive_cut_short_anywhere_gives_problems_never_a_traceback(name, tmp_path, made):
    files = {f"{number}.png": bytes([number]) * 700 for number in range(4)}
    whole = {
        "t.zip": made.zipped(files),
        "t.tar": made.tarred(files),
        "t.tar.gz": made.tarred(files, "w:gz"),
    }[name]
    for cut in range(1, min(len(whole), 4000), 97):
        path = tmp_path / f"{cut}-{name}"
        path.write_bytes(whole[:cut])
        items = list(walk(path))
        complaints = sum(isinstance(item, Problem) for item in items)
        for group in items:
            for entry in group.entries if isinstance(group, Group) else ():
                try:
                    assert entry.read() == files[entry.name]
                except DrawingError:
                    complaints += 1
        assert complaints, cut


def test_links_encryption_and_doubles_in_a_zip_are_problems(tmp_path):
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("locked.png", b"x")
        archive.writestr("good.png", b"x")
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # mark one as encrypted
        starts = [at for at in range(len(data)) if data[at : at + 4] == signature]
        data[starts[1] + flags] |= 1
    path.write_bytes(bytes(data))
    problem, group = walk(path)
    assert problem == Problem(f"{path}!link.png", "a link inside an archive: not followed")
    good, locked = group.entries
    assert good.read() == b"x"
    with pytest.raises(DrawingError, match="encrypted"):
        locked.read()


def test_a_replaced_archive_is_read_anew(tmp_path, made):
    path = tmp_path / "t.zip"
    for content in (b"old", b"newer"):
        path.write_bytes(made.zipped({"x.png": content}))
        assert contents(walk(path)) == {"x.png": content}


def test_any_part_of_a_gzip_is_read_as_if_unpacked(monkeypatch):
    monkeypatch.setattr(compressed, "SPAN", 3000)
    monkeypatch.setattr(compressed, "PIECE", 100)
    rng = np.random.default_rng(0)
    halves = [rng.integers(0, 200, 40_000, dtype=np.uint8).tobytes() for _ in range(2)]
    whole = b"".join(halves)
    packed = b"".join(gzip.compress(half) for half in halves) + bytes(512)
    inflater = Inflater(io.BytesIO(packed))

    def part(at: int, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := inflater.read_at(at + len(data), size - len(data))):
            data += piece
        return data

    for at in [*rng.integers(0, len(whole), 60), 0, len(whole) - 1]:
        assert part(int(at), 500) == whole[at : at + 500]
    assert part(len(whole), 5) == b""
    assert inflater.size() == len(whole)
    with ThreadPoolExecutor(4) as pool:
        places = rng.integers(0, len(whole) - 100, 40).tolist()
        assert list(pool.map(lambda at: part(at, 100), places)) == [
            whole[at : at + 100] for at in places
        ]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20210209", "2021-02-09"),
        ("2021-02-09", "2021-02-09"),
        ("2021-02-09 00:00:00", "2021-02-09"),
        ("20211301", None),
        ("2021", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_dates_are_iso_or_nothing(text, date):
    assert iso_date(text) == date
