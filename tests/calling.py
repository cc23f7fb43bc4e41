"""The command line, called in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_retrieval import cli


class Outcome(NamedTuple):
    """What one call of the command line did."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def calling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *before: str
) -> Run:
    """Return what calls `edge-ret BEFORE ARGS`."""

    def call(*args: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edge-ret", *before, *map(str, args)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call
