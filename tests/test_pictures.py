"""Drawings in a terminal: which ones can, what is sent, and that it says what was meant."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_retrieval.arrays import Pixels
from edge_retrieval.cli.pictures import (
    GAP,
    Labelled,
    Tile,
    escape,
    hit_pictures,
    print_hit_pictures,
    print_pictures,
    row_of_pictures,
    strip,
)
from edge_retrieval.cli.sixel import to_sixel
from edge_retrieval.cli.terminals import KINDS, Cell, cell_of, chosen_kind, kind_of_terminal
from edge_retrieval.drawing import to_png
from edge_retrieval.errors import ConfigError
from edge_retrieval.register import Register
from edge_retrieval.search import query_from_bytes, search
from tests import fakes

TILE = Tile(14, 7, Cell(10, 20))


def plain(width: int, height: int, *, inset: int = 0) -> bytes:
    """Return the PNG of a frame whose lines are the outermost pixels of `width` x `height`."""
    image = Image.new("L", (width, height), 255)
    box = (inset, inset, width - 1 - inset, height - 1 - inset)
    ImageDraw.Draw(image).rectangle(box, outline=0, width=3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


# ------------------------------------------------------------------ which terminals


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "mlterm"}, "sixel"),
        ({"TERM": "xterm", "MLTERM": "3.9.0"}, "sixel"),
        ({"TERM": "yaft-256color"}, "sixel"),
        ({"TERM": "xterm-sixel"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "contour"}, "sixel"),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-256color", "WT_SESSION": "1"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "football"}, None),
        ({"TERM": "linux"}, None),
        ({"TERM": "dumb", "TERM_PROGRAM": "iTerm.app"}, None),
        ({}, None),
    ],
)
def test_the_environment_tells_which_pictures_a_terminal_shows(
    environment: dict[str, str], kind: str | None
) -> None:
    assert kind_of_terminal(environment) == kind


@pytest.mark.parametrize("outer", ["xterm-kitty", "foot", "xterm-256color"])
@pytest.mark.parametrize(
    "inner", [{"TMUX": "/tmp/tmux-0/default,1,0"}, {"STY": "1.pts-0"}, {"TERM": "tmux-256color"}]
)
def test_within_tmux_and_screen_no_pictures_are_shown_unless_asked(
    outer: str, inner: dict[str, str]
) -> None:
    environment = {"TERM": outer, "LC_TERMINAL": "iTerm2", "KITTY_WINDOW_ID": "1"} | inner
    assert kind_of_terminal(environment) is None
    assert chosen_kind("auto", stream=Screen(), environment=environment) is None
    assert chosen_kind("sixel", stream=Screen(), environment=environment) == "sixel"


def test_a_program_started_from_kitty_is_not_taken_for_kitty() -> None:
    environment = {"TERM": "xterm-256color", "TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}
    assert kind_of_terminal(environment) is None


class Screen(io.StringIO):
    """What says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_no_picture_goes_to_what_is_no_terminal_however_it_was_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kitty = {"TERM": "xterm-kitty"}
    assert chosen_kind("auto", stream=Screen(), environment=kitty) == "kitty"
    assert chosen_kind("auto", stream=io.StringIO(), environment=kitty) is None
    assert capsys.readouterr().err == ""
    assert chosen_kind("kitty", stream=io.StringIO(), environment=kitty) is None
    assert "terminal only" in capsys.readouterr().err  # it was asked for: say why not
    print_pictures("kitty", [("one", fakes.drawing(1))])
    print_hit_pictures("sixel", [("one", fakes.drawing(1))])
    assert capsys.readouterr() == ("", "")


def test_none_is_none_and_an_unknown_way_is_an_error_with_the_ways_there_are() -> None:
    assert chosen_kind("none", stream=Screen(), environment={"TERM": "xterm-kitty"}) is None
    with pytest.raises(ConfigError, match="'ascii'") as caught:
        chosen_kind("ascii", stream=Screen())
    assert "kitty, iterm, sixel, none" in caught.value.hint


@contextlib.contextmanager
def terminal(rows: int, columns: int, width: int, height: int) -> Iterator[io.TextIOWrapper]:
    """Give a terminal of so many cells and pixels."""
    outer, inner = pty.openpty()
    try:
        packed = struct.pack("HHHH", rows, columns, width, height)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, packed)
        with open(inner, "w", closefd=False) as stream:
            yield stream
    finally:
        os.close(inner)
        os.close(outer)


def test_the_size_of_a_letter_is_the_systems_or_the_usual_one() -> None:
    with terminal(24, 80, 80 * 9, 24 * 19) as stream:
        assert cell_of(stream) == Cell(9, 19)
    for nothing in ((24, 80, 0, 0), (0, 0, 0, 0), (24, 80, 80, 24)):
        with terminal(*nothing) as stream:
            assert cell_of(stream) == Cell(10, 20)
    assert cell_of(io.StringIO()) == Cell(10, 20)


# ------------------------------------------------------------------ what is drawn


def test_drawings_stand_side_by_side_on_white_tiles_with_nothing_between() -> None:
    image = opened(strip([plain(90, 90), plain(90, 90), plain(90, 90)], TILE, exact=True))
    assert image.size == ((14 * 3 + GAP * 2) * 10, 7 * 20)
    solid = np.asarray(image.getchannel("A"))
    for start in (0, 150, 300):
        assert (solid[:, start : start + 140] == 255).all()
    assert (solid[:, 140:150] == 0).all() and (solid[:, 290:300] == 0).all()


@pytest.mark.parametrize(("width", "height"), [(300, 20), (20, 300), (100, 100), (4, 300)])
def test_wide_and_tall_drawings_are_whole_in_the_middle_and_keep_their_shape(
    width: int, height: int
) -> None:
    tile = np.asarray(opened(strip([plain(width, height)], TILE, exact=True)).getchannel("L"))
    rows, columns = np.nonzero(tile < 250)
    left, top = int(columns.min()), int(rows.min())
    right, bottom = tile.shape[1] - 1 - int(columns.max()), tile.shape[0] - 1 - int(rows.max())
    assert abs(left - right) <= 1 and abs(top - bottom) <= 1
    assert min(left, top) >= 3  # paper all round
    drawn = columns.max() - columns.min() + 1, rows.max() - rows.min() + 1
    assert max(drawn) >= 120  # as large as there is room
    assert drawn[0] / drawn[1] == pytest.approx(width / height, rel=0.25)


def test_a_terminal_of_fine_letters_gets_no_larger_a_picture_than_a_register_keeps() -> None:
    fine = Tile(14, 7, Cell(40, 80))
    image = opened(strip([plain(320, 320)] * 2, fine))
    assert image.height == 320
    assert image.width == round(320 * (14 * 2 + GAP) / 14)
    assert opened(strip([plain(320, 320)] * 2, fine, exact=True)).height == 7 * 80


def test_a_tile_is_nearly_square_and_never_wider_than_the_screen() -> None:
    for cell in (Cell(10, 20), Cell(9, 19), Cell(8, 13), Cell(12, 24)):
        tile = Tile.of(7, cell, width=80)
        assert tile.columns * cell.width == pytest.approx(tile.rows * cell.height, rel=0.06)
    assert Tile.of(9, Cell(10, 20), width=6) == Tile(6, 3, Cell(10, 20))
    assert Tile.of(9, Cell(10, 20), width=1) == Tile(1, 1, Cell(10, 20))
    strip([plain(50, 50)], Tile(1, 1, Cell(4, 6)))  # so small a screen is no error


# ------------------------------------------------------------------ what is sent


def test_kittys_chunks_are_the_png_and_say_how_many_cells_it_takes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    sent = escape("kitty", file.getvalue(), rows=7, columns=29)
    found = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", sent)
    assert sent == "".join(f"\x1b_G{keys};{chunk}\x1b\\" for keys, chunk in found)
    assert len(found) > 2
    first = dict(pair.split("=") for pair in found[0][0].split(","))
    assert first == {"a": "T", "f": "100", "q": "2", "C": "1", "c": "29", "r": "7", "m": "1"}
    assert {keys for keys, _ in found[1:-1]} == {"q=2,m=1"}
    assert found[-1][0] == "q=2,m=0"
    assert all(len(chunk) == 4096 for _, chunk in found[:-1]) and len(found[-1][1]) <= 4096
    assert base64.b64decode("".join(chunk for _, chunk in found)) == file.getvalue()


def test_a_small_picture_is_one_chunk_for_kitty() -> None:
    sent = escape("kitty", plain(9, 9), rows=1, columns=2)
    assert sent.count("\x1b_G") == 1 and "m=0;" in sent


def test_iterm_gets_the_png_its_bytes_and_the_cells_it_takes() -> None:
    png = fakes.drawing(3)
    sent = escape("iterm", png, rows=7, columns=29)
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\x07", sent)
    assert found is not None
    settings = dict(pair.split("=") for pair in found[1].split(";"))
    assert settings == {
        "inline": "1",
        "size": str(len(png)),
        "width": "29",
        "height": "7",
        "preserveAspectRatio": "1",
    }
    assert base64.b64decode(found[2]) == png


def decoded(sent: str) -> Pixels:
    """Draw what a sixel sequence says, letter by letter: `(h, w)` hundredths, 255 not painted."""
    found = re.fullmatch(r'\x1bP[0-9;]*q"1;1;(\d+);(\d+)(.*)\x1b\\', sent)
    assert found is not None
    width, height, letters = int(found[1]), int(found[2]), found[3]
    screen = np.full((height, width), 255, np.uint8)
    colours: dict[int, int] = {}
    x = y = at = colour = 0
    while at < len(letters):
        letter = letters[at]
        number = re.match(r"[\d;]*", letters[at + 1 :])
        assert number is not None
        if letter == "#":
            values = [int(value) for value in number[0].split(";")]
            colour = values[0]
            if len(values) > 1:
                assert values[1] == 2 and len(set(values[2:])) == 1  # RGB, and grey
                colours[colour] = values[2]
            at += 1 + len(number[0])
            continue
        if letter in "$-":
            x, y = 0, y + 6 * (letter == "-")
            at += 1
            continue
        count = 1
        if letter == "!":
            count, at = int(number[0]), at + 1 + len(number[0])
            letter = letters[at]
        assert "?" <= letter <= "~"
        for _ in range(count):
            for bit in range(6):
                if (ord(letter) - 63) >> bit & 1:
                    assert screen[y + bit, x] == 255  # no pixel is painted twice
                    screen[y + bit, x] = colours[colour]
            x += 1
        at += 1
    return screen


@pytest.mark.parametrize("height", [1, 6, 7, 23, 24])
def test_a_sixel_picture_decodes_to_the_greys_that_were_meant(height: int) -> None:
    rng = np.random.default_rng(height)
    greys = np.repeat(rng.integers(0, 256, (height, 11), np.uint8), 7, axis=1)  # runs
    painted = rng.random(greys.shape) < 0.8
    painted[:, 40:] = False
    screen = decoded(to_sixel(greys, painted))
    assert ((screen == 255) == ~painted).all()
    wanted = greys.astype(float) * 100 / 255
    assert np.abs(screen - wanted)[painted].max() <= 100 / 15 / 2 + 0.6


def test_sixels_show_the_drawing_in_whole_bands_within_its_cells() -> None:
    png = strip([fakes.drawing(1), fakes.drawing(2)], TILE, exact=True)
    sent = escape("sixel", png, rows=7, columns=29, cell=Cell(10, 20))
    screen = decoded(sent)
    assert screen.shape == (138, 290)  # 140 rows hold 23 bands of six
    image = np.asarray(opened(png))
    wanted = image[:138, :, 0].astype(float) * 100 / 255
    painted = image[:138, :, 1] > 0
    assert ((screen == 255) == ~painted).all()
    assert np.abs(screen - wanted)[painted].max() <= 4
    assert len(sent) < 40_000


def test_a_picture_of_another_size_fills_its_cells_as_sixels() -> None:
    sent = escape("sixel", plain(320, 320), rows=3, columns=6, cell=Cell(10, 20))
    assert decoded(sent).shape == (60, 60)


# ------------------------------------------------------------------ rows and labels


class Lines:
    """A screen of which only the cursor and the letters matter; pictures are marked by their row.

    Does what every terminal does at a newline in the last line: it scrolls.
    """

    def __init__(self, height: int, at: int) -> None:
        self.lines = [f"before {line}" if line < at else "" for line in range(height)]
        self.height, self.row, self.column = height, at, 0
        self.pictures: list[int] = []

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b_G.*?\x1b\\|\x1b\[\d+[AB]|.|\n", text):
            if part.startswith("\x1b_G"):
                if "a=T" in part:
                    self.pictures.append(self.row)
            elif part.startswith("\x1b["):
                step = int(part[2:-1]) * (-1 if part[-1] == "A" else 1)
                self.row = min(self.height - 1, max(0, self.row + step))
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == self.height:
                    self.row -= 1
                    self.lines = [*self.lines[1:], ""]
                    self.pictures = [row - 1 for row in self.pictures]
            elif part == "\r":
                self.column = 0
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + 1 :]
                self.column += 1


@pytest.mark.parametrize("at", [0, 3, 11, 19])
def test_kittys_picture_has_its_room_and_the_label_stands_below_wherever_it_begins(
    at: int,
) -> None:
    screen = Lines(20, at)
    screen.feed(row_of_pictures("kitty", [("1 chair", plain(9, 9))], TILE) + "\n")
    [top] = screen.pictures
    assert top >= 0
    assert screen.lines[top : top + 7] == [""] * 7
    assert screen.lines[top + 7] == "1 chair"
    assert all(line.startswith("before") for line in screen.lines[:top])


@pytest.mark.parametrize("kind", ["iterm", "sixel"])
def test_the_others_leave_the_cursor_in_the_last_line_so_a_newline_goes_below(kind: str) -> None:
    chosen = next(each for each in KINDS if each == kind)
    text = row_of_pictures(chosen, [("1 chair", plain(9, 9)), ("2", plain(9, 9))], TILE)
    shown, labels = text.split("\n")
    assert shown.startswith("\x1b") and shown.endswith(("\x07", "\x1b\\"))
    assert labels == "1 chair        2"


def test_labels_stand_below_their_pictures_cut_and_of_letters_of_any_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", Screen())
    names = ["a very long description", "椅子の正面図と背面図", "\x1b[31mred", "4"]
    text = row_of_pictures("iterm", [(name, plain(9, 9)) for name in names], TILE)
    labels = text.split("\n")[1]
    assert labels == "a very long d… 椅子の正面図…   [31mred       4"
    assert "\x1b" not in labels


def shown_rows(out: str) -> list[str]:
    """Return the lines of labels that stand below pictures of iTerm."""
    return re.findall(r"\x07\n([^\n]*)", out)


Show = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Return what goes to a terminal of so many columns and lines."""

    def call(show: Callable[[], None], *, columns: int = 80, lines: int = 24) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        with contextlib.redirect_stdout(Screen()) as screen:
            show()
        return screen.getvalue()

    return call


def numbered(count: int, taken: list[int] | None = None) -> Iterator[Labelled]:
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield f"n{number}", plain(30, 30)


def test_hits_take_one_row_and_no_picture_is_read_that_does_not_fit(shown: Show) -> None:
    taken: list[int] = []
    out = shown(lambda: print_hit_pictures("iterm", numbered(50, taken)))
    assert [line.split() for line in shown_rows(out)] == [["n0", "n1", "n2", "n3", "n4"]]
    assert taken == [0, 1, 2, 3, 4]
    assert "width=74;height=7;" in out


def test_without_a_way_to_show_them_no_picture_is_read(shown: Show) -> None:
    taken: list[int] = []
    for show in (print_hit_pictures, print_pictures):
        assert shown(lambda show=show: show(None, numbered(9, taken))) == ""
    assert taken == []


def test_all_figures_are_shown_row_after_row(shown: Show) -> None:
    out = shown(lambda: print_pictures("iterm", numbered(6)))
    assert [line.split() for line in shown_rows(out)] == [["n0", "n1", "n2", "n3"], ["n4", "n5"]]


def test_a_low_or_narrow_window_gets_smaller_pictures(shown: Show) -> None:
    out = shown(lambda: print_pictures("iterm", numbered(1)), lines=8)
    assert "width=10;height=5;" in out
    out = shown(lambda: print_pictures("iterm", numbered(2)), columns=6)
    assert out.count("width=6;height=3;") == 2


def test_a_row_of_sixels_is_no_wider_than_xterm_draws(shown: Show) -> None:
    out = shown(lambda: print_hit_pictures("sixel", numbered(30)), columns=300, lines=60)
    widths = re.findall(r'"1;1;(\d+);', out)
    assert len(widths) == 1 and 800 < int(widths[0]) <= 1000


def test_a_search_shows_the_query_first_then_the_best_figure_of_each_hit(tmp_path: Path) -> None:
    with Register.create(tmp_path / "r", fakes.tiny_bundle(tmp_path / "b")) as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        register.add(fakes.designs(4), encoder)
        query = query_from_bytes(fakes.drawing(2, 1), "chair.png", cut=False)
        [result] = search(register, [query], encoder, k=3)
        found = list(hit_pictures(result, register))
        assert [label for label, _ in found] == [
            "query",
            *(f"{hit.rank} {hit.design.number}" for hit in result.hits),
        ]
        assert found[1][0] == "1 D0002"
        assert [png for _, png in found[1:]] == [
            register.picture(hit.figure.row) for hit in result.hits
        ]
        assert found[0][1] == to_png(query.figures[0].pixels)
