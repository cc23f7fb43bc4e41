"""`edge-ret show`: what a register knows of one design, in a pipe, a terminal, a page."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_retrieval.cli.showing import view_of, without_beginning
from edge_retrieval.evidence.design_page import design_as_data, design_page
from edge_retrieval.register import FigureRecord, Register
from edge_retrieval.sources.design import Box
from tests import fakes
from tests.calling import Run, calling

NASTY = "<script>alert(1)</script> & \x1b[31m"
LONG = "An ornamental design for a spoon with a very long name that no terminal holds in one line"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A register with a design of which all is known, a bare one and one that is nasty."""
    root = tmp_path_factory.mktemp("show")
    turned = fakes.sheet(fakes.drawing(2, side=300), "S2.png", boxes=(Box(10, 20, 290, 280),))
    spoon = fakes.design(
        "USD0909824",
        [
            fakes.sheet(fakes.drawing(1), "S1.png", captions=("front view",), single=True),
            turned,
        ],
        title=LONG,
        locarno_edition="13",
        uspc=("D07/654", "D07/401.2"),
        filed="2019-05-06",
        published="2021-02-09",
        applicants=("Löffel AG", "Spoons & Sons"),
        stated_figures=7,
        where="week.tar!USD0909824.zip",
    )
    bare = fakes.design("X1", [fakes.sheet(fakes.drawing(3), "x.png", single=True)], (), title="")
    nasty = fakes.design(
        "N1",
        [fakes.sheet(fakes.drawing(4), "n.png", captions=(NASTY,), single=True)],
        title=NASTY,
        applicants=(NASTY,),
    )
    with Register.create(root / "r", fakes.tiny_bundle(root / "b")) as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        register.add([spoon, bare, nasty], encoder, source="week 6")
    return root / "r"


@pytest.fixture
def show(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call `edge-ret show ARGS` on the register, into a pipe."""

    call = calling(monkeypatch, capsys, "show")
    return lambda *args: call(*args, "--register", folder)


def on_terminal(*args: str | Path, **environment: str) -> str:
    """Return what `edge-ret ARGS` writes to a terminal of 80 x 30 cells of 10 x 20 pixels."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 800, 600))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_retrieval.cli", *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=subprocess.PIPE,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[1]), "LANG": "C.UTF-8"} | environment,
    )
    os.close(inner)
    written = b""
    try:
        while part := os.read(outer, 65_536):
            written += part
    except OSError:  # how Linux tells that the other end has closed
        pass
    finally:
        os.close(outer)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("spelling", ["USD0909824", "909824", "D909,824", "usd909824", " 0909824"])
def test_a_design_is_shown_by_any_spelling_of_its_number(show: Run, spelling: str) -> None:
    done = show(spelling)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "USD0909824"


def test_all_that_is_known_is_told_a_line_each(show: Run) -> None:
    lines = [" ".join(line.split()) for line in show("909824").out.splitlines()]
    for line in (
        f"title {LONG}",
        "class 07-03 Table cutlery, edition 13",
        "US class D07/654, D07/401.2",
        "filed 2019-05-06",
        "published 2021-02-09",
        "applicants Löffel AG, Spoons & Sons",
        "source week 6",
        "found in week.tar!USD0909824.zip",
        "2 figures; the office says 7",
        "1 front view S1.png 119 x 114 at 47, 73",
        "2 S2.png 139 x 185 at 87, 47",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("said", "view"),
    [
        ("FIG. 2 is a top view thereof", "top view thereof"),
        ("Figure 12A shows the left side", "left side"),
        ("FIG. 3 is an exploded view", "exploded view"),
        ("front view", "front view"),
        ("FIG. 4 is a ", "FIG. 4 is a "),
        ("", ""),
    ],
)
def test_what_a_figure_shows_is_told_without_its_number(said: str, view: str) -> None:
    figure = FigureRecord(0, "X1", 1, "x.png", "", Box(0, 0, 1, 1), description=said)
    assert view_of(figure) == view


def test_sheets_are_told_apart_by_how_their_names_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_retrieval.cli.showing.takes_any_letter", lambda: True)
    names = ["USD0909824-20210209-D00001.TIF", "USD0909824-20210209-D00002.TIF"]
    assert without_beginning(names) == ["…D00001.TIF", "…D00002.TIF"]
    for kept in (
        ["a-1.png", "a-2.png"],
        ["chair front.png", "table.png"],
        names[:1],
    ):
        assert without_beginning(kept) == kept
    assert without_beginning([]) == []


def test_a_path_is_never_broken_in_a_terminal(folder: Path, tmp_path: Path) -> None:
    where = "/a/very/long/folder" * 5 + "/USD1.zip"
    with Register.create(tmp_path / "r", fakes.tiny_bundle(tmp_path / "b")) as register:
        sheet = fakes.sheet(fakes.drawing(1), single=True)
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        register.add([fakes.design("X1", [sheet], where=where)], encoder)
    assert f"  found in  {where}\n" in on_terminal("show", "X1", "-r", tmp_path / "r", TERM="xterm")


def test_what_is_not_known_takes_no_line(show: Run) -> None:
    out = show("X1").out
    for name in ("title", "filed", "published", "applicant", "US class", "shows"):
        assert name not in out
    assert "1 figure\n" in out


def test_an_unknown_number_is_one_line_and_a_hint_with_near_ones(show: Run) -> None:
    done = show("USD0909825")
    assert (done.code, done.out) == (1, "")
    error, hint = done.err.splitlines()
    assert error.startswith("error: ") and "no design 'USD0909825'" in error
    assert hint.startswith("hint: ") and "USD0909824" in hint


def test_an_unknown_way_to_show_pictures_is_an_error_before_anything_is_shown(show: Run) -> None:
    done = show("X1", "--pictures", "ascii")
    assert (done.code, done.out) == (1, "")
    assert "'ascii'" in done.err and "kitty, iterm, sixel" in done.err


def test_json_holds_all_of_it_as_plain_data(show: Run, folder: Path) -> None:
    told = json.loads(show("909824", "--json", "--pictures", "kitty").out)
    assert told["design"] == "USD0909824"
    assert told["register"] == str(folder)
    assert (told["locarno"], told["locarno_edition"]) == ("07-03", "13")
    assert told["locarno_title"] == "Table cutlery"
    assert told["applicants"] == ["Löffel AG", "Spoons & Sons"]
    assert (told["source"], told["where"]) == ("week 6", "week.tar!USD0909824.zip")
    assert told["stated_figures"] == 7
    first, second = told["figures"]
    assert (first["figure"], first["description"], first["sheet"]) == (1, "front view", "S1.png")
    assert (second["figure"], second["box"], second["turned"]) == (2, [87, 47, 226, 232], 0)
    with Register.open(folder) as register:
        assert told["snapshot"] == register.snapshot
        assert told == json.loads(json.dumps(design_as_data(register, "USD0909824")))
        [figure] = register.figures([second["row"]])
        assert figure.sheet_sha256 == second["sheet_sha256"]


@pytest.mark.parametrize("asked", ["auto", "kitty", "iterm", "sixel"])
def test_nothing_but_text_goes_to_a_pipe_in_any_terminal(
    show: Run, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")
    for number in ("909824", "N1"):
        done = show(number, "--pictures", asked)
        assert done.code == 0
        assert all(char.isprintable() or char == "\n" for char in done.out + done.err)
        assert ("terminal only" in done.err) == (asked != "auto")


def test_a_terminal_that_can_shows_every_figure_and_what_it_shows(folder: Path) -> None:
    out = on_terminal("show", "909824", "-r", folder, TERM="xterm-kitty")
    [first] = re.findall(r"\x1b_G(a=T[^;]*);", out)
    assert "c=37,r=9" in first  # two tiles of 18 x 9 cells, and a gap
    assert out.rstrip().endswith("1 front view       figure 2")


@pytest.mark.parametrize(
    ("asked", "begins"), [("iterm", "\x1b]1337;File="), ("sixel", "\x1bP"), ("kitty", "\x1b_G")]
)
def test_a_terminal_is_believed_to_show_what_the_user_says(
    folder: Path, asked: str, begins: str
) -> None:
    args = ("show", "X1", "-r", folder, "--pictures", asked)
    assert begins in on_terminal(*args, TERM="xterm-256color", TMUX="/tmp/t,1,0")


def test_a_terminal_that_cannot_gets_lines_of_its_width_and_no_colour(folder: Path) -> None:
    for environment in ({"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        out = on_terminal("show", "909824", "-r", folder, **environment)
        sequences = re.findall(r"\x1b\[[\d;]*[A-Za-z]|\x1b.", out)
        assert {*sequences} <= {"\x1b[1m", "\x1b[0m", "\x1b[2m"}  # heavy or light, no colour
        text = re.sub(r"\x1b\[[\d;]*m", "", out)
        assert max(map(len, text.splitlines())) <= 80
        assert LONG in " ".join(text.split())  # whole, in two lines


class Page(HTMLParser):
    """What a page holds and asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        self.alts += [told["alt"] or ""] if tag == "img" else []

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_all_views_and_asks_for_nothing(show: Run, tmp_path: Path) -> None:
    path = tmp_path / "design.html"
    done = show("909824", "--html", path)
    assert (done.code, done.err) == (0, f"page: {path}\n")
    found = Page(path.read_text("utf-8"))
    assert found.alts == ["Figure 1: front view", "Figure 2"]
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    for text in ("USD0909824", LONG, "07-03 Table cutlery", "Löffel AG", "139 x 185 at 87, 47"):
        assert text in found.text
    assert "2 figures; the office says 7" in found.text


def test_a_page_runs_nothing_that_a_source_says(folder: Path) -> None:
    with Register.open(folder) as register:
        found = Page(design_page(register, "N1"))
    assert "script" not in found.tags
    assert found.text.count("<script>alert(1)</script>") >= 3  # as text
    assert found.alts == [f"Figure 1: {NASTY}"]


def test_a_drawing_is_never_replaced_by_a_page(show: Run, tmp_path: Path) -> None:
    path = tmp_path / "drawing.png"
    path.write_bytes(fakes.drawing(1))
    done = show("X1", "--html", path)
    assert (done.code, done.out) == (1, "")
    assert "another kind of file" in done.err
    assert path.read_bytes() == fakes.drawing(1)
