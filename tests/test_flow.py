"""The whole line, small: made drawings -> train -> export -> index -> search -> eval."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_retrieval import cli


def edge_ret(*args: str | Path) -> None:
    """Call the command line; any exit code but 0 fails the test."""
    sys.argv = ["edge-ret", *map(str, args)]
    try:
        cli.main()
    except SystemExit as stop:
        assert not stop.code, args


@pytest.fixture(autouse=True)
def restore_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the test runner's own arguments back afterwards."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))


def test_the_whole_line_runs_from_made_drawings_to_ranked_designs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, run, bundles, register = (
        tmp_path / name for name in ("made", "run", "bundles", "register")
    )
    edge_ret("data", "synth", made, "--designs", 108, "--seed", 7, "--views", 3, "--size", 160)
    small = ["steps=6", "size=64", "dim=32", "backbone=lcnet_050", "validate_every=6"]
    chosen = [part for setting in small for part in ("--set", setting)]
    edge_ret("train", "--data", made, "-o", run, *chosen)
    edge_ret(
        "export",
        run,
        "--int8",
        "--format",
        "onnx",
        "--max-drop",
        "1",
        "--min-overlap",
        "0",
        "--budget",
        "1s",
        "-o",
        bundles,
        "--name",
        "tiny",
    )
    capsys.readouterr()
    edge_ret("index", made, "--bundle", bundles / "tiny-int8", "-o", register, "--json")
    summary = json.loads(capsys.readouterr().out)
    assert summary["designs"] == 108
    assert summary["figures"] == 324
    assert summary["problems"] == []

    query = sorted((made / "sheets").glob("*.png"))[0]
    edge_ret("search", query, "-r", register, "--json", "-k", 3)
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert query.stem.startswith(result["hits"][0]["design"])

    edge_ret("eval", register, "--json")
    tables = json.loads(capsys.readouterr().out)
    patent = next(s for s in tables["figures"] if s["level"] == "design")
    assert 0.0 < patent["values"]["mAP"] <= 1.0
    edge_ret("register", "verify", register)


@pytest.mark.real
def test_real_grants_are_indexed_whole_and_two_of_three_find_themselves(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register = tmp_path / "grants"
    edge_ret("index", real_data / "uspto-grants", "-o", register, "--json")
    summary = json.loads(capsys.readouterr().out)
    assert (summary["designs"], summary["sheets_read"], summary["figures"]) == (3, 17, 23)
    assert summary["front_pages"] == 3

    right: dict[str, list[bool]] = {}
    for folder in sorted((real_data / "uspto-grants").iterdir()):
        number = folder.name.split("-")[0]
        for sheet in sorted(folder.glob("*.TIF")):
            if "D00000" in sheet.name:
                continue  # the front page repeats another sheet
            edge_ret("search", sheet, "-r", register, "--exclude-self", "--json")
            [result] = json.loads(capsys.readouterr().out)["results"]
            right.setdefault(number, []).append(result["hits"][0]["design"] == number)
    # The views from above and below of two of them look like nothing else that they show.
    first = [number for number, found in right.items() if np.mean(found) > 0.8]
    assert len(first) >= 2, right


def test_a_training_that_skipped_a_drawing_says_so_and_exits_with_3(tmp_path: Path) -> None:
    made, run = tmp_path / "made", tmp_path / "run"
    edge_ret("data", "synth", made, "--designs", "8", "--views", "2", "--size", "64")
    sorted((made / "sheets").glob("*.png"))[0].write_bytes(b"no image")
    settings = ("backbone=test_efficientnet", "size=32", "steps=2", "threads=1")
    words = ["train", "--data", made, "-o", run]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "edge_retrieval.cli", *map(str, words)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert "skipped: 1 input" in done.stderr and "problems.json" in done.stderr
    assert (run / "best.safetensors").is_file()
