"""Files made to do harm: bombs, paths that lead out, pipes, names that steer a terminal, lies.

Others are held elsewhere: entities of XML in tests/sources/test_uspto.py, links and damaged
archives in tests/sources/test_files.py, headers of images in tests/drawing/test_decode.py, a
register's caches in tests/test_hostile.py.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from edge_retrieval.bundle import Bundle
from edge_retrieval.bundle_files import FileRecord, fingerprint_of
from edge_retrieval.cli.limiting import DRAWINGS, FLAGS
from edge_retrieval.drawing import cut_sheet, pdf, whole_sheet
from edge_retrieval.drawing.bitmap import Bitmap
from edge_retrieval.drawing.ready import SheetTask
from edge_retrieval.drawing.tiff import count_pages
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import (
    BundleError,
    ConfigError,
    DrawingError,
    EdgeRetrievalError,
    RegisterError,
    SourceError,
)
from edge_retrieval.index.graph_file import check_file
from edge_retrieval.limits import Limits, current, flag, within
from edge_retrieval.query import query_from_bytes
from edge_retrieval.register import Register, adding, cutters, writing
from edge_retrieval.register.database import Database
from edge_retrieval.register.manifest import _check
from edge_retrieval.register.repairing import faults_of, repair
from edge_retrieval.search import search
from edge_retrieval.sources import Box, Design, Problem, open_source
from edge_retrieval.sources.files import walk
from edge_retrieval.split import read_split
from tests import fakes
from tests.calling import Run
from tests.test_cli import is_one_line_and_a_hint
from tests.test_cli import one_sample_cache as one_sample_cache  # fixture
from tests.test_cli import run as run  # fixture

PNG = fakes.drawing(1, side=48)
ZEROS = bytes(3 << 20)
pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def parted(path: Path, kind: str = "auto") -> tuple[list[Design], list[Problem]]:
    items = list(open_source(path, kind=kind))
    designs = [item for item in items if isinstance(item, Design)]
    return designs, [item for item in items if isinstance(item, Problem)]


def unreadable(path: Path, kind: str = "auto") -> list[str]:
    """Return why what a source holds cannot be read, in listing it and then sheet by sheet."""
    designs, problems = parted(path, kind)
    reasons = [problem.reason for problem in problems]
    for design in designs:
        for sheet in design.sheets:
            try:
                sheet.read()
            except DrawingError as error:
                reasons.append(str(error))
    return reasons


# Bombs


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one bit, all paper: 120 million pixels are 15 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    row = b"\0" + b"\xff" * ((width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("read", [cut_sheet, whole_sheet])
def test_a_png_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = png_bomb(20_000, 8_000)
    assert len(bomb) < 100_000
    monkeypatch.setattr(PngImageFile, "load", None)  # whoever unpacks it fails otherwise
    with pytest.raises(DrawingError, match=r"20000 x 8000 pixels: .*\(--max-pixels"):
        read(bomb, where="a")


def test_a_png_whose_second_header_is_of_another_size_is_refused() -> None:
    first, second = png_bomb(64, 64), png_bomb(4096, 4096)
    mixed = first[:33] + second[8:33] + first[33:]
    with pytest.raises(DrawingError):
        cut_sheet(mixed, where="a")


def tiff(**tags: tuple[int, int, int]) -> bytes:
    """A TIFF of 8 x 8 pixels in one strip; tags by name change type, count and value."""
    names = {"width": 256, "height": 257, "bits": 258, "packing": 259, "light": 262}
    names |= {"strip": 273, "rows": 278, "bytes": 279}
    values = {
        "width": (4, 1, 8), "height": (4, 1, 8), "bits": (3, 1, 1), "packing": (3, 1, 4),
        "light": (3, 1, 0), "strip": (4, 1, 8), "rows": (4, 1, 8), "bytes": (4, 1, 8),
    } | tags  # fmt: skip
    entries = b"".join(struct.pack("<HHII", names[name], *values[name]) for name in names)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", 8) + entries + bytes(4)


@pytest.mark.parametrize(
    "lie",
    [
        {"rows": (4, 1, 1 << 31)},
        {"bytes": (4, 1, 0xFFFFFFF0)},
        {"strip": (4, 1 << 30, 8)},
        {"bytes": (4, 1 << 28, 16)},
        {"height": (4, 1, 1 << 30)},
        {"width": (4, 1, 0)},
        {"bits": (3, 1, 65535)},
    ],
)
def test_strips_of_a_tiff_that_lie_are_refused(lie: dict[str, tuple[int, int, int]]) -> None:
    with pytest.raises(DrawingError):
        cut_sheet(tiff(**lie), where="a")


def chain(pages: int, end: int = 0) -> bytes:
    """A TIFF of empty directories, one after the other."""
    parts = [struct.pack("<HI", 0, 8 + 6 * (page + 1)) for page in range(pages - 1)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(parts) + struct.pack("<HI", 0, end)


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (chain(1), 1),
        (chain(7), 7),
        (chain(7, end=8), 7),  # back to the first
        (chain(7, end=1 << 30), 8),  # beyond the end: whoever reads it finds out
        (chain(300_000), 501),
        (b"II*\0", 1),
        (b"", 1),
    ],
)
def test_no_more_pages_of_a_tiff_are_counted_than_may_be_read(data: bytes, pages: int) -> None:
    assert count_pages(data, 500) == pages


def test_a_tiff_of_very_many_pages_is_refused_at_once() -> None:
    image = io.BytesIO()
    Image.new("1", (8, 8), 1).save(image, "TIFF")
    data = bytearray(image.getvalue())
    at = int.from_bytes(data[4:8], "little")
    after = at + 2 + 12 * int.from_bytes(data[at : at + 2], "little")
    data[after : after + 4] = len(data).to_bytes(4, "little")
    for page in range(200_000):
        data += struct.pack("<HI", 0, len(data) + 6 if page < 199_999 else 0)
    with pytest.raises(DrawingError, match=r"more than 500 \(--max-pages"):
        cut_sheet(bytes(data), where="a")


def dots(step: int) -> bytes:
    """A page of dots that lie far enough apart to be a figure each."""
    pixels = np.full((400, 400), 255, np.uint8)
    pixels[::step, ::step] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_a_page_of_very_many_figures_or_boxes_is_refused() -> None:
    assert len(cut_sheet(dots(20), where="a")) == 400
    with within(Limits(figures=300)):
        with pytest.raises(DrawingError, match=r"figures are more than 300 \(--max-figures\)"):
            cut_sheet(dots(20), where="a")
        with pytest.raises(DrawingError, match=r"boxes are more than 300 \(--max-figures\)"):
            cut_sheet(dots(20), where="a", boxes=[Box(0, 0, 400, 400)] * 301)


@pytest.mark.parametrize("read", [cut_sheet, whole_sheet])
def test_a_drawing_that_memory_does_not_suffice_for_is_refused(
    read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Bitmap) -> Bitmap:
        raise MemoryError

    monkeypatch.setattr(Bitmap, "as_ink_on_paper", full)
    with pytest.raises(DrawingError, match="too little memory"):
        read(png_bomb(64, 64), where="a")


def test_pages_that_together_are_too_large_are_refused() -> None:
    image = Image.new("1", (100, 100), 1)
    image.paste(0, (20, 20, 60, 70))
    out = io.BytesIO()
    image.save(out, "TIFF", save_all=True, append_images=[image] * 44, compression="group4")
    with (
        within(Limits(pixels=10_000)),
        pytest.raises(DrawingError, match=r"together .*--max-pixels"),
    ):
        cut_sheet(out.getvalue(), where="a")
    assert cut_sheet(out.getvalue(), where="a")


def pdf_of_forms(levels: int, times: int) -> bytes:
    """A PDF of one page whose forms draw one another: `times ** levels` squares."""

    def stream(words: bytes, content: bytes) -> bytes:
        head = b"<< %s /Length %d >>" % (words, len(content))
        return head + b"\nstream\n" + content + b"\nendstream"

    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources "
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R"
        b" /Resources << /XObject << /X 5 0 R >> >> >>",
        stream(b"", b"/X Do"),
    ]
    for level in range(levels):
        inner = form + b"<< /XObject << /X %d 0 R >> >>" % (6 + level)
        objects.append(stream(inner, b" ".join([b"/X Do"] * times)))
    objects.append(stream(form + b"<< >>", b"10 10 50 50 re f"))
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(b"%010d 00000 n \n" % len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % size + b"".join(places)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, len(data))
    return data + table + end


def test_a_pdf_that_never_ends_is_given_up_and_the_next_one_is_read() -> None:
    pytest.importorskip("pypdfium2")
    assert len(cut_sheet(pdf_of_forms(1, 2), where="a")) == 1  # its process has started
    late = pytest.raises(DrawingError, match=r"page 1.: takes more than 1 seconds .--max-seconds")
    with within(Limits(seconds=1)), late:
        cut_sheet(pdf_of_forms(9, 10), where="a")
    assert len(cut_sheet(pdf_of_forms(1, 2), where="a")) == 1


def test_a_pdf_that_brings_its_process_down_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pypdfium2")
    pages = pdf.pages_of(pdf_of_forms(1, 2), where="a")
    assert min(next(pages).size) > 800
    running = pdf._running

    def killed() -> Any:
        process = running()
        process.kill()  # as a fault of pdfium's does
        process.wait()
        return process

    monkeypatch.setattr(pdf, "_running", killed)
    with pytest.raises(DrawingError, match="brought down the process"):
        list(pdf.pages_of(pdf_of_forms(1, 2), where="a"))
    monkeypatch.undo()
    assert len(list(pdf.pages_of(pdf_of_forms(1, 2), where="a"))) == 1


def test_pages_of_two_pdfs_read_in_turn_are_their_own() -> None:
    pytest.importorskip("pypdfium2")
    first, second = io.BytesIO(), io.BytesIO()
    Image.new("L", (72, 72), 0).save(
        first, "PDF", save_all=True, append_images=[Image.new("L", (36, 72))]
    )
    Image.new("L", (144, 72), 0).save(second, "PDF")
    one, other = (pdf.pages_of(file.getvalue(), where="a") for file in (first, second))
    assert [next(one).size, next(other).size, next(one).size] == [
        (300, 300),
        (600, 300),
        (150, 300),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zipped({"x/1.png": ZEROS})),
        ("a.zip", zipped({"x/inner.zip": zipped({"1.png": ZEROS})})),
        ("a.tar.gz", tarred({"x/1.png": ZEROS}, "w:gz")),
        ("a.tar.xz", tarred({"x/1.png": ZEROS}, "w:xz")),
        ("a.tar.bz2", tarred({"x/1.png": ZEROS}, "w:bz2")),
    ],
)
def test_what_unpacks_to_too_much_is_a_problem_that_names_the_flag(
    name: str, data: bytes, tmp_path: Path
) -> None:
    assert len(data) < 10_000
    (tmp_path / name).write_bytes(data)
    with within(Limits(mb=1)):
        reasons = unreadable(tmp_path / name, "folder")
    assert any("larger than 1 MiB (--max-mb)" in reason for reason in reasons)
    assert unreadable(tmp_path / name, "folder") == []  # the usual limit is higher


def test_a_gzip_bomb_beside_drawings_costs_no_memory_and_no_drawing(tmp_path: Path) -> None:
    data = tarred({"x/bomb.png": bytes(64 << 20), "x/1.png": PNG}, "w:gz")
    (tmp_path / "a.tar.gz").write_bytes(data)
    with within(Limits(mb=1)):
        [design] = parted(tmp_path / "a.tar.gz", "folder")[0]
        bomb, sound = sorted(design.sheets, key=lambda sheet: sheet.name, reverse=True)
        assert sound.read() == PNG
        with pytest.raises(DrawingError, match="--max-mb"):
            bomb.read()


def test_a_zip_whose_directory_would_fill_memory_is_a_problem(tmp_path: Path) -> None:
    names = {f"x/{'n' * 90}{number}.png": b"" for number in range(40)}
    (tmp_path / "a.zip").write_bytes(zipped(names))
    with within(Limits(members=20)):
        assert "more than 20 (--max-members)" in unreadable(tmp_path / "a.zip", "folder")[0]
    assert len(parted(tmp_path / "a.zip", "folder")[0][0].sheets) == 40


def test_a_member_without_a_name_is_a_problem(tmp_path: Path) -> None:
    data = bytearray(zipped({"1.png": PNG}))
    at = data.index(b"PK\x01\x02")
    data[at + 28 : at + 30] = b"\0\0"  # no name
    data[at + 32 : at + 34] = b"\5\0"  # what was the name is a comment
    (tmp_path / "a.zip").write_bytes(data)
    [reason] = unreadable(tmp_path / "a.zip", "folder")
    assert "damaged" in reason


@pytest.mark.parametrize("method", [9, 12, 14, 93])
def test_a_member_in_a_compression_that_it_is_not_in_is_a_problem(
    method: int, tmp_path: Path
) -> None:
    data = bytearray(zipped({"x/1.png": PNG * 20}))
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(mark) + offset
        data[at : at + 2] = method.to_bytes(2, "little")
    (tmp_path / "a.zip").write_bytes(data)
    [reason] = unreadable(tmp_path / "a.zip", "folder")
    assert "cannot be read" in reason


# Paths that lead out, links, pipes, devices

OUTSIDE = ("../../out/1.png", "/out/1.png", "a/../../../out/1.png", "..\\out\\1.png", "C:\\1.png")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_lead_out_of_an_archive_write_nothing_anywhere(
    pack: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    place = tmp_path / "deep" / "er" / f"a.{'zip' if pack is zipped else 'tar'}"
    place.parent.mkdir(parents=True)
    place.write_bytes(pack(dict.fromkeys(OUTSIDE, PNG)))
    designs, _ = parted(place, "folder")
    read = [sheet.read() for design in designs for sheet in design.sheets]
    assert read and set(read) == {PNG}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [place]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"7"])
def test_pipes_and_devices_in_a_tar_are_problems(kind: bytes, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("x/odd.png")
        info.type, info.linkname = kind, "/dev/zero"
        archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    items = list(walk(tmp_path / "a.tar"))
    if kind == b"7":  # contiguous: a plain file of nothing
        assert not any(isinstance(item, Problem) for item in items)
    else:
        assert "a link or device" in items[0].reason  # type: ignore[union-attr]


@pipes
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "1.png", "design2021.json", "G.XML"])
def test_a_pipe_is_never_opened_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError):  # nothing else is there
        list(open_source(tmp_path))
    with pytest.raises(SourceError, match="a pipe or a device"):
        open_source(tmp_path / name)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1.png").write_bytes(PNG)
    _, problems = parted(tmp_path, "folder")
    assert [Path(problem.where).name for problem in problems] == [name]


@pipes
@pytest.mark.parametrize("name", ["register.json", "vectors-0.f32", "columns.bin", "head.json"])
def test_a_pipe_in_a_register_is_refused(name: str, register: Path) -> None:
    (register / name).unlink()
    os.mkfifo(register / name)
    with pytest.raises(RegisterError, match="a pipe or a device"):
        Register.open(register)


@pipes
@pytest.mark.parametrize("name", ["bundle.json", "golden.npz"])
def test_a_pipe_in_a_bundle_is_refused(name: str, tmp_path: Path) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "tiny")
    (bundle.folder / name).unlink()
    os.mkfifo(bundle.folder / name)
    with pytest.raises(BundleError, match="a pipe or a device"):
        Bundle.open(bundle.folder)


def test_links_that_lead_to_one_another_end(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1.png").write_bytes(PNG)
    try:
        (tmp_path / "x" / "self").symlink_to("self")
        (tmp_path / "x" / "self.png").symlink_to("self.png")
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        (tmp_path / "x" / "up").symlink_to("..")
    except OSError:
        pytest.skip("no links")
    designs, problems = parted(tmp_path, "folder")
    assert [design.number for design in designs] == ["x"]
    assert {Path(problem.where).name for problem in problems} == {
        "self",
        "self.png",
        "a",
        "b",
        "up",
    }


# Names


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_that_steer_a_terminal_are_shown_as_one_harmless_line(run: Run) -> None:
    evil = "a\nerror: all is lost\x1b[2J\x1b]0;owned\x07\u202egpj\u2028b\x9b2J\U0001f980"
    root = Path("designs")
    for name in (evil, "sound"):
        (root / "06" / "06-01" / name).mkdir(parents=True)
    (root / "06" / "06-01" / "sound" / "1.png").write_bytes(fakes.drawing(1))
    (root / "06" / "06-01" / evil / "1.png").write_bytes(fakes.drawing(2))
    (root / "06" / "06-01" / evil / f"{evil[:60]}.png").write_bytes(b"no drawing")
    done = run("index", root, "-o", "mine")
    found = run("search", root / "06" / "06-01" / evil / "1.png", "-r", "mine")
    wrong = run("search", root / "06" / "06-01" / evil / f"{evil[:60]}.png", "-r", "mine")
    shown = [run("show", evil, "-r", "mine"), run("register", "info", "mine")]
    assert done.code == 3 and found.code == 0 and wrong.code == 1
    assert is_one_line_and_a_hint(wrong.err)
    for outcome in (done, found, wrong, *shown):
        for text in (outcome.out, outcome.err):
            lines = text.split("\n")
            assert not any(line.startswith("error: all") for line in lines)
            assert all(char.isprintable() or char == "\n" for char in text), ascii(text)
    assert "\U0001f980" in found.out


# Files that change while they are read


def test_a_drawing_that_vanishes_after_it_was_listed_is_told(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_bytes(PNG)
    [design] = parted(tmp_path, "folder")[0]
    (tmp_path / "x" / "1.png").unlink()
    with pytest.raises(DrawingError, match="cannot be read: No such file"):
        design.sheets[0].read()
    assert design.sheets[1].read() == PNG


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_that_is_cut_or_vanishes_after_it_was_listed_is_told(
    name: str, tmp_path: Path
) -> None:
    members = {f"x/{number}.png": os.urandom(40_000) for number in range(9)}
    mode = "w:gz" if name.endswith("gz") else "w"
    data = zipped(members) if name == "a.zip" else tarred(members, mode)
    path = tmp_path / name
    for change in (lambda: path.write_bytes(data[:90_000]), path.unlink):
        path.write_bytes(data)
        [design] = parted(path, "folder")[0]
        change()
        for sheet in design.sheets:
            with contextlib.suppress(DrawingError):  # what was kept open may still be read
                assert sheet.read() == members[f"x/{sheet.name}"]


def test_a_folder_that_vanishes_while_it_is_walked_is_a_problem(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(PNG)
    groups = walk(tmp_path)
    assert next(groups).where.endswith("a")
    (tmp_path / "b" / "1.png").unlink()
    (tmp_path / "b").rmdir()
    [problem] = groups
    assert isinstance(problem, Problem) and "cannot be listed" in problem.reason


def test_a_drawing_that_is_cut_while_it_is_indexed_costs_only_itself(
    tmp_path: Path, register: Path
) -> None:
    def designs() -> Iterator[Design | Problem]:
        for number in (20, 21):
            (tmp_path / f"x{number}").mkdir()
            path = tmp_path / f"x{number}" / "1.png"
            path.write_bytes(fakes.drawing(number))
            for item in open_source(path.parent, kind="folder"):
                if number == 20:
                    path.write_bytes(path.read_bytes()[:200])
                yield item

    with Register.open(register) as opened:
        result = opened.add(designs(), fakes.FakeEncoder(opened.bundle.fingerprint))
        assert result.designs_added == 1
        assert any("truncated or damaged" in problem.reason for problem in result.problems)


# Registers and bundles


@pytest.fixture
def register(tmp_path: Path) -> Path:
    bundle = fakes.tiny_bundle(tmp_path / "tiny")
    with Register.create(tmp_path / "register", bundle) as made:
        made.add(fakes.designs(4, views=1), fakes.FakeEncoder(bundle.fingerprint))
        assert made.columns.figures_count == 4
    return tmp_path / "register"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_vectors_of_a_register_that_are_not_finite_are_not_answered(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = writing.put_figures

    def putting(database: Any, store: Any, figures: Any, vectors: Any) -> None:
        vectors = np.array(vectors)
        vectors[1, 3:5] = value  # its checksums are right
        put(database, store, figures, vectors)

    monkeypatch.setattr(adding, "put_figures", putting)
    bundle = fakes.tiny_bundle(tmp_path / "tiny")
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    with Register.create(tmp_path / "register", bundle) as made:
        made.add(fakes.designs(4, views=1), encoder)
        query = query_from_bytes(fakes.drawing(0), "q.png", cut=False)
        try:
            [result] = search(made, [query], encoder, k=4)
        except RegisterError as error:
            assert "vector 1 is not finite" in str(error)
        else:
            assert all(-1 <= hit.score <= 1 for hit in result.hits)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE designs; CREATE VIEW designs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
        " SELECT i + 1 FROM n) SELECT i id, 'D' number, 0 node, '' source, 0 dead, '' facts,"
        " x'' digest FROM n",
        "CREATE TRIGGER t AFTER INSERT ON designs BEGIN DELETE FROM designs; END",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "CREATE TABLE t (a, b AS (zeroblob(a)))",
        "UPDATE state SET digest = zeroblob(90000000)",
    ],
)
def test_a_database_with_more_than_plain_tables_is_refused(sql: str, register: Path) -> None:
    with contextlib.closing(sqlite3.connect(register / "designs.sqlite")) as database:
        try:
            database.executescript(sql)
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no such thing")
    with pytest.raises(RegisterError):
        Register.open(register)
    assert faults_of(register)


def test_columns_of_more_figures_than_there_are_vectors_are_not_believed(register: Path) -> None:
    with contextlib.closing(sqlite3.connect(register / "designs.sqlite")) as database:
        database.execute("UPDATE batches SET rows = rows - 1")
        database.commit()
    with Register.open(register) as opened:
        query = query_from_bytes(fakes.drawing(0), "q.png", cut=False)
        with pytest.raises(RegisterError, match="damaged"):
            search(opened, [query], embeddings=[np.array(opened.vectors[:1])], k=2)


@pytest.mark.parametrize(
    "change",
    [
        {"levels": None}, {"levels": []}, {"levels": [1]}, {"levels": "class"}, {"bundle": None},
        {"bundle": {"fingerprint": 1, "dim": 2}}, {"bundle": {"fingerprint": "x"}},
    ],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused_its_checksum_right(
    change: dict[str, Any], register: Path
) -> None:
    told = json.loads((register / "register.json").read_text()) | change
    told["check"] = _check(told)
    (register / "register.json").write_text(json.dumps(told))
    with pytest.raises(RegisterError):
        Register.open(register)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (["x"], "names no files"),
        ({"n" * 5000: "ab"}, "damaged, or missing"),
        ({"a\0b": "ab"}, "damaged, or missing"),
        ({"bundle/bundle.json": None}, "damaged, or missing"),
    ],
)
def test_a_manifest_whose_files_are_none_is_a_fault(files: Any, fault: str, register: Path) -> None:
    told = json.loads((register / "register.json").read_text()) | {"files": files}
    told["check"] = _check(told)
    (register / "register.json").write_text(json.dumps(told))
    assert any(fault in line for line in faults_of(register))


@pytest.mark.parametrize("key", [1 << 62, -5])
def test_a_repair_is_not_led_on_by_a_number_beyond_all_others(key: int, register: Path) -> None:
    with contextlib.closing(sqlite3.connect(register / "designs.sqlite")) as database:
        database.execute("UPDATE designs SET id = ? WHERE id = 2", (key,))
        database.commit()
    assert any("D0001" in line for line in repair(register))
    with Register.open(register) as opened:
        assert opened.designs_count == 3


def test_a_repair_passes_over_records_without_a_number(
    register: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = Database.each

    def damaged(self: Database, sql: str, *values: object) -> Iterator[Any]:
        if "NOT INDEXED" in sql:  # as SQLite gives the key of a cell that points nowhere
            yield (None,) * 15 if "figures" in sql else (None,) * 7
        yield from each(self, sql, *values)

    (register / "pictures-0.bin").write_bytes((register / "pictures-0.bin").read_bytes()[:-3])
    monkeypatch.setattr(Database, "each", damaged)
    assert any("D0003" in line for line in repair(register))


def vouched(folder: Path, name: str, data: bytes) -> Bundle:
    """Put a file into a bundle, whose manifest vouches for it."""
    (folder / name).write_bytes(data)
    bundle = Bundle.read(folder)
    files = {
        **bundle.files,
        name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)),
    }
    told = json.loads((folder / "bundle.json").read_text())
    told["files"] = {key: record._asdict() for key, record in files.items()}
    told["fingerprint"] = fingerprint_of(bundle.format, files, bundle.dim, bundle.preprocessing)
    (folder / "bundle.json").write_text(json.dumps(told))
    return Bundle.open(folder)


def golden(**members: bytes) -> bytes:
    return zipped(members)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


IMAGES = np.full((1, 8, 8), 255, np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        golden(**{"images.npy": npy(IMAGES), "embeddings": b"no array"}),
        golden(**{"images.npy": npy(IMAGES), "embeddings.npy": npy(np.full((1, 64), 1e30, "<f4"))}),
        golden(
            **{"images.npy": npy(IMAGES), "embeddings.npy": npy(np.full((1, 64), np.nan, "<f4"))}
        ),
        golden(**{"images.npy": npy(IMAGES).replace(b"(1, 8, 8)", b"(1<<9,8) ")}),
        golden(**{"images.npy": npy(IMAGES).replace(b"(1, 8, 8),", b"(99999999999,8,8),"[:10])}),
        npy(np.array([{"a": 1}], object)),
        b"",
    ],
)
def test_golden_drawings_that_are_none_are_refused(data: bytes, tmp_path: Path) -> None:
    fakes.tiny_bundle(tmp_path / "tiny")
    bundle = vouched(tmp_path / "tiny", "golden.npz", data)
    with pytest.raises(BundleError):
        bundle.golden()


def test_a_network_whose_ports_are_no_text_is_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fakes.tiny_bundle(tmp_path / "tiny")
    data = fakes.MODEL.read_bytes().replace(b"embeddings", b"embedding\xff")
    for network in (data, data[:-9], data.replace(b"AveragePool", b"AveragePoll")):
        bundle = vouched(tmp_path / "tiny", "model.onnx", network)
        with pytest.raises(BundleError):
            load_encoder(bundle)
    assert capfd.readouterr().out == ""


# Texts


@pytest.mark.parametrize("text", ["seed = " + "9" * 5000, "train = " + "[" * 5000, "a = 1e999999"])
def test_numbers_and_lists_without_end_are_no_split(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ConfigError):
        read_split(tmp_path / "s.toml")


@pytest.mark.parametrize("side", ["9" * 5000, "9" * 20])
def test_a_box_of_any_size_is_cut_at_the_page_or_told(side: str, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(fakes.drawing(1))
    (tmp_path / "metadata.csv").write_text(f"file_name,box\n1.png,0 0 {side} {side}\n")
    designs, problems = parted(tmp_path)
    assert not designs and "is not x0 y0 x1 y1" in problems[0].reason
    row = {"patentID": "USD1", "figure_file": "1.png", "x_figure": 0, "y_figure": 0}
    row |= {"w_figure": float(side[:20]) * 1e200, "h_figure": 10**300}
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "1.png").write_bytes(fakes.drawing(1))
    (tmp_path / "design2021.json").write_text(json.dumps([row]))
    [design] = parted(tmp_path, "deeppatent2")[0]
    [sheet] = design.sheets
    [figure] = cut_sheet(sheet.read(), where="a", boxes=sheet.boxes)
    [whole] = cut_sheet(sheet.read(), where="a", boxes=[Box(0, 0, 240, 240)])
    assert figure.box == whole.box


def test_objects_within_a_broken_one_are_not_tried_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "design2021.json").write_text('{"b":[\n' * 20_000 + '\n{"patentID": "USD1"}\n')
    _, problems = parted(tmp_path / "design2021.json")
    broken = [problem for problem in problems if "broken JSON" in problem.reason]
    assert len(broken) < 400  # of 20,000: the innermost ones are tried
    assert "USD1" in problems[-1].reason


def test_a_table_of_very_many_columns_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    names = ",".join(f"c{number}" for number in range(50_000))
    (tmp_path / "metadata.csv").write_text(f"file_name,{names}\n1.png{',x' * 50_000}\n")
    designs, problems = parted(tmp_path)
    assert len(designs) == 1 and not problems


def test_the_record_beside_a_graph_may_be_anything(register: Path) -> None:
    for text in ("[" * 100_000, "null", "{", '{"schema": 1e999}'):
        (register / "graph.hnsw").write_bytes(b"x")
        (register / "graph.hnsw.json").write_text(text)
        with pytest.raises(RegisterError):
            check_file(register / "graph.hnsw")


def test_a_drawing_is_never_given_to_another_program() -> None:
    file = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with pytest.raises(DrawingError, match="not an image that can be read"):
        cut_sheet(file, where="a.png")


# Limits


def lay_elements(folder: Path) -> Path:
    text = "<us-patent-grant>" + "<p/>" * 50 + "</us-patent-grant>"
    (folder / "G.XML").write_text(text)
    return folder / "G.XML"


def lay_depth(folder: Path) -> Path:
    data = zipped({"x/1.png": PNG})
    for _ in range(3):
        data = zipped({"a.zip": data})
    (folder / "a.zip").write_bytes(data)
    return folder / "a.zip"


def lay_members(folder: Path) -> Path:
    (folder / "a.tar").write_bytes(tarred({f"x/{n}.png": PNG for n in range(9)}))
    return folder / "a.tar"


def lay_rows(folder: Path) -> Path:
    for number in range(9):
        (folder / f"{number}.png").write_bytes(PNG)
    lines = "".join(f"{number}.png\n" for number in range(9))
    (folder / "metadata.csv").write_text("file_name\n" + lines)
    return folder / "metadata.csv"


def lay_object(folder: Path) -> Path:
    (folder / "design2021.json").write_text(json.dumps({"patentID": "x" * (3 << 20)}))
    return folder / "design2021.json"


def lay_mb(folder: Path) -> Path:
    (folder / "1.png").write_bytes(ZEROS)
    return folder / "1.png"


@pytest.mark.parametrize(
    ("name", "lay", "low"),
    [
        ("elements", lay_elements, 20),
        ("depth", lay_depth, 2),
        ("members", lay_members, 5),
        ("rows", lay_rows, 5),
        ("object", lay_object, 1000),
        ("mb", lay_mb, 1),
    ],
)
def test_a_refusal_of_a_source_names_the_flag_that_raises_the_limit(
    name: str, lay: Callable[[Path], Path], low: int, tmp_path: Path
) -> None:
    place = lay(tmp_path)
    kind = {"elements": "uspto", "rows": "table", "object": "deeppatent2"}.get(name, "folder")
    with within(replace(Limits(), **{name: low})):
        refused = unreadable(place, kind)
    assert any(f"({flag(name)})" in reason for reason in refused), refused
    usual = unreadable(place, kind)
    assert not any(flag(name) in reason for reason in usual), usual


def test_a_table_that_is_too_large_is_refused_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name\n" + "x" * (2 << 20))
    with within(Limits(mb=1)), pytest.raises(SourceError, match="--max-mb"):
        list(open_source(tmp_path))


def test_every_limit_has_a_flag_that_index_takes(run: Run) -> None:
    assert set(FLAGS) == set(Limits.__dataclass_fields__)
    told = run("index", "--help").out
    assert all(flag(name) in told for name in FLAGS)
    for command, names in (("search", DRAWINGS), ("replay", DRAWINGS), ("watch", FLAGS)):
        told = run(command, "--help").out
        assert all(flag(name) in told for name in names), command


def test_limits_hold_where_they_were_set_and_nowhere_else() -> None:
    with within(Limits(pixels=7)):
        with within(Limits(pixels=9)):
            assert current().pixels == 9
        assert current().pixels == 7
    assert current() == Limits()
    with pytest.raises(ConfigError, match="--max-pages 0"):
        Limits(pages=0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_processes_that_cut_keep_the_limits_of_whom_they_cut_for(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutters, "ENOUGH_SHEETS", 1)
    task = SheetTask(fakes.drawing(1), "a")
    refused = pytest.raises(DrawingError, match="--max-pixels")
    with within(Limits(pixels=1000)), cutters.Cutters(fakes.PREPROCESSING, jobs) as strict, refused:
        strict.submit(task).result()
    with cutters.Cutters(fakes.PREPROCESSING, jobs) as usual:
        assert usual.submit(task).result()


def test_the_flags_raise_and_lower_what_is_read(run: Run) -> None:
    root = Path("designs")
    (root / "06" / "06-01" / "a").mkdir(parents=True)
    (root / "06" / "06-01" / "a" / "1.png").write_bytes(fakes.drawing(1))
    refused = run("index", root, "-o", "mine", "--max-pixels", "1000")
    assert refused.code == 1 and "(--max-pixels)" in refused.err
    assert run("index", root, "-o", "mine", "--max-pixels", "60000").code == 0
    drawing = root / "06" / "06-01" / "a" / "1.png"
    low = run("search", drawing, "-r", "mine", "--max-pixels", "1000")
    assert low.code == 1 and is_one_line_and_a_hint(low.err)
    assert "--max-pixels" in low.err.splitlines()[-1]
    assert run("search", drawing, "-r", "mine").code == 0
    assert run("search", drawing, "-r", "mine", "--max-pixels", "0").code == 2


def test_a_page_beyond_pillows_own_limit_is_read_where_the_flag_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = fakes.drawing(1)
    assert cut_sheet(data, where="a")  # ours is higher: 120 million
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with within(Limits(pixels=1500)), pytest.raises(DrawingError, match="--max-pixels"):
        cut_sheet(data, where="a")


def test_errors_of_hostile_files_are_all_of_one_kind() -> None:
    kinds = (BundleError, ConfigError, DrawingError, RegisterError, SourceError)
    assert all(issubclass(kind, EdgeRetrievalError) for kind in kinds)


def test_a_gzip_of_gzips_is_only_unpacked_once(tmp_path: Path) -> None:
    data = tarred({"x/1.png": gzip.compress(gzip.compress(ZEROS))}, "w:gz")
    (tmp_path / "a.tar.gz").write_bytes(data)
    [design] = parted(tmp_path / "a.tar.gz", "folder")[0]
    with pytest.raises(DrawingError, match="not an image"):
        cut_sheet(design.sheets[0].read(), where="a")
