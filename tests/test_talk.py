"""How the command line talks: a bar on a terminal, few lines in a log; drawings by name or pipe."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_retrieval.cli import talk
from edge_retrieval.cli.talk import QUIET, bar
from edge_retrieval.errors import DrawingError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that moves on by so much whenever it is looked at."""
    times = itertools.count(0.0, seconds)
    return lambda: next(times)


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int = 100) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return terminal


def unknown(count: int) -> Iterator[int]:
    yield from range(count)


def test_a_bar_on_a_terminal_tells_count_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    seen = iter(bar(unknown(40), "Epoch 3/30", 120, clock=ticking(0.01)))
    assert list(seen) == list(range(40))
    drawn = terminal.getvalue()
    assert "Epoch 3/30" in drawn
    assert "40/120" in drawn
    assert "it/s, 0:00:" in drawn
    assert " left" in drawn


def test_a_bar_of_unknown_length_tells_the_rate_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    assert len(list(bar(unknown(40), "Indexing", clock=ticking(0.01)))) == 40
    drawn = terminal.getvalue()
    assert "40/?" in drawn
    assert "it/s" in drawn
    assert "left" not in drawn


def test_slow_work_tells_seconds_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    list(bar(unknown(40), "Cutting", 41, clock=ticking(20)))
    assert "s/it" in terminal.getvalue()


def test_a_description_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    list(bar(range(3), "Reading [bold]x[/bold]"))
    assert "Reading [bold]x[/bold]" in terminal.getvalue()


def test_a_bar_fits_a_narrow_terminal_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, width=80)
    list(bar(unknown(40), "Epoch 30/30", 1200, clock=ticking(0.2)))
    last = terminal.getvalue().rsplit("Epoch", 1)[-1]
    assert " left" in last.split("\n")[0]


def test_short_work_says_only_what_begins_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bar(range(5), "Epoch 1/3")) == [0, 1, 2, 3, 4]
    shown = capsys.readouterr()
    assert shown.err == "Epoch 1/3 ...\n"
    assert shown.out == ""


def test_long_work_says_from_time_to_time_how_far_it_is_in_a_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(list(bar(range(12), "Epoch 3/30", 12, clock=ticking(QUIET / 4)))) == 12
    assert capsys.readouterr().err.splitlines() == [
        "Epoch 3/30 ...",
        "Epoch 3/30: 3 of 12, 10.0 s/it, 0:01:30 left",
        "Epoch 3/30: 7 of 12, 8.6 s/it, 0:00:43 left",
        "Epoch 3/30: 11 of 12, 8.2 s/it, 0:00:08 left",
    ]


def test_very_long_work_tells_hours(capsys: pytest.CaptureFixture[str]) -> None:
    list(bar(range(3), "Epoch 1", 200, clock=ticking(60)))
    assert "Epoch 1: 1 of 200, 120.0 s/it, 6:38:00 left" in capsys.readouterr().err


def test_work_of_unknown_length_tells_its_rate_in_a_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    list(bar(unknown(40), "Reading", clock=ticking(1)))
    assert capsys.readouterr().err.splitlines() == [
        "Reading ...",
        "Reading: 29, 1.0 s/it",
    ]


def test_a_list_knows_its_length(capsys: pytest.CaptureFixture[str]) -> None:
    list(bar(["a", "b", "c"], "Exporting", clock=ticking(QUIET)))
    assert "Exporting: 1 of 3" in capsys.readouterr().err


def test_items_are_taken_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    taken = []

    def noted() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    assert next(iter(bar(noted(), "Reading"))) == 0
    assert taken == [0]


def test_a_dash_reads_the_drawing_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x89PNG drawing")))
    assert talk.read_drawing(Path("-")) == b"\x89PNG drawing"


def test_a_dash_with_nobody_piping_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DrawingError, match="standard input") as caught:
        talk.read_drawing(Path("-"))
    assert "<" in caught.value.hint
