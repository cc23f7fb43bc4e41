"""Continuous integration: what the workflows call is there, and the scripts do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_layers import imports_of

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.name != "base-tests")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: Path) -> dict[str, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    loaded["on"] = loaded.pop(True, loaded.get("on"))  # YAML 1.1 reads "on" as yes
    return loaded


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            for step in job["steps"]:
                yield f"{path.name}: {name}", step


RUNS = [(where, step["run"]) for where, step in steps() if "run" in step]


def test_there_are_the_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["audit", "ci", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_says_when_it_runs_may_only_read_and_ends(path: Path) -> None:
    loaded = read(path)
    assert loaded["on"]
    assert loaded["permissions"] == {"contents": "read"}
    for job in loaded["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_every_action_is_named_with_its_version() -> None:
    named = [step["uses"] for _, step in steps() if "uses" in step]
    assert named
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", one) for one in named), named


def test_the_pythons_are_those_of_the_project() -> None:
    told = {line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if ":: Python :: 3" in line}
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert set(matrix["python"]) == told


@pytest.mark.parametrize(("where", "script"), RUNS)
def test_what_a_step_runs_is_there(where: str, script: str) -> None:
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M
    )
    for line in script.splitlines():
        for target in re.findall(r"(?:^|&& |; )make ([a-z-]+)", line):
            assert target in targets, f"{where}: make {target}"
        for name in re.findall(r"(?:^|[\s(])(\.ci/[\w-]+|tests/[\w/.]+)", line):
            assert (ROOT / name).is_file(), f"{where}: {name}"
        for extras in re.findall(r"'?\.\[([a-z,]+)\]", line):
            assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize(("where", "script"), RUNS)
def test_a_step_is_shell_that_parses(where: str, script: str) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    plain = re.sub(r"\$\{\{.*?\}\}", "value", script)
    done = subprocess.run(["bash", "-n", "-c", plain], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}: {done.stderr}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_of_ci_parses_and_stops_at_the_first_fault(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "python" in text.splitlines()[0]:
        compile(text, str(path), "exec")
        return
    assert "set -euo pipefail" in text
    if shutil.which("bash") is not None:
        subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.skipif(os.name != "posix", reason="Windows knows no such bit")
def test_scripts_can_be_called() -> None:
    assert [path.name for path in SCRIPTS if not os.access(path, os.X_OK)] == []


def test_the_tests_of_the_base_install_need_no_more_than_it() -> None:
    extras = {
        "distill", "httpx2", "matplotlib", "onnx", "openvino", "pyarrow", "pypdfium2", "starlette",
        "timm", "torch", "uvicorn", "yaml",
    }  # fmt: skip
    named = (ROOT / ".ci" / "base-tests").read_text(encoding="utf-8").split()
    assert named == sorted(named)
    for name in named:
        wrong = [
            str(one) for one in imports_of(ROOT / name) if one.runs_at_import and one.of(extras)
        ]
        assert not wrong, wrong


def test_the_oldest_versions_are_those_of_the_project() -> None:
    told = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "lowest")], capture_output=True, text=True, check=True
    )
    assert "numpy==1.26.*" in told.stdout.split()
    assert len(told.stdout.split()) == len(PROJECT["dependencies"])


# ------------------------------------------------------------------ .ci/audit

UNREACHABLE = "requests.exceptions.ConnectionError: Max retries exceeded: Name or service not known"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("says", "code", "expected", "told"),
    [
        ("No known vulnerabilities found", 0, 0, "no known weakness"),
        ("Found 2 known vulnerabilities in 1 package", 1, 1, "Found 2 known"),
        (UNREACHABLE, 1, 0, "cannot be reached: nothing was checked"),
        ("TypeError: something of its own", 1, 1, "pip-audit failed"),
    ],
)
def test_an_audit_tells_a_weakness_from_a_database_that_cannot_be_reached(
    says: str, code: int, expected: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "pip_audit.py").write_text(
        f"import sys\nif '--version' in sys.argv: sys.exit(0)\nprint({says!r})\nsys.exit({code})\n"
    )
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "audit")], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == expected, done.stdout + done.stderr
    assert told in done.stdout


def test_the_local_run_and_the_workflow_call_the_same() -> None:
    """What .ci/run does, the workflow does: no step is tried in one place only."""
    local = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    called = " ".join(script for _, script in RUNS)
    for target in re.findall(r"^make ([a-z-]+)", local, flags=re.M):
        word = ".ci/wheel-check" if target == "wheel-check" else f"make {target}"
        assert word in called
