"""What is measured in processes of their own: starting cold, and memory part by part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_retrieval.bench.contestants import Contestant
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.errors import EvaluationError
from edge_retrieval.report import Measurement

PATIENCE = 600.0
"""Seconds after which a process is given up."""

ALIKE = {"OPENBLAS_NUM_THREADS": "1"}
"""As `edge-ret search` sets it."""

IMPORTED = """
from edge_retrieval.cli.commands import application
application("search")
import json, numpy, onnxruntime
import edge_retrieval.encoder, edge_retrieval.evidence, edge_retrieval.register
import edge_retrieval.filters, edge_retrieval.search
"""
"""What a search loads before it does anything."""

MEMORY_PARTS = ("interpreter", "runtime", "model", "register")


def measure_cold_start(
    register: Path, sheet: Path, first: Contestant, settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `cold_start`: whole processes, from their start to their end, in turn.

    The first round is not counted: it fills the caches of the disk and of the optimised network.
    """
    search = [
        "-m", "edge_retrieval.cli", "search", str(sheet), "--register", str(register),
        "--backend", first.encoder.backend, "--json",
    ]  # fmt: skip
    commands = {"python": ["-c", "pass"], "import": ["-c", IMPORTED], "search": search}
    samples: dict[str, list[float]] = {what: [] for what in commands}
    least, most = settings.rounds("cold_start")
    for command in commands.values():
        run_fresh(command)
    for _ in course.rounds("Starting cold", settings.budget("cold_start"), least, most):
        for what, command in commands.items():
            start = time.perf_counter()
            run_fresh(command)
            samples[what].append(time.perf_counter() - start)
    return [
        Measurement("cold_start", "s", tuple(seconds), {"what": what})
        for what, seconds in samples.items()
    ]


def measure_memory(
    register: Path, sheet: Path, first: Contestant, settings: BenchSettings, course: Course
) -> list[Measurement]:
    """Return `memory`, part by part: each process loads one part more than the one before."""
    rounds: list[list[Mapping[str, int]]] = []
    least, most = settings.rounds("memory")
    for _ in course.rounds("Weighing", settings.budget("memory"), least, most):
        held = []
        for part in MEMORY_PARTS:
            held.append(
                ask_fresh(
                    "memory", part=part, register=str(register), sheet=str(sheet),
                    backend=first.encoder.backend, threads=first.threads,
                )
            )  # fmt: skip
        rounds.append(held)
    if "rss" not in rounds[0][0]:
        course.note("memory is not measured: this system does not tell what a process holds")
        return []
    if "pss" not in rounds[0][0]:
        course.note("shared memory is not told apart: this system has no smaps_rollup")
    found = []
    for kind in rounds[0][0]:
        for place, part in enumerate(MEMORY_PARTS):
            adds = place > 0 and kind != "peak"
            samples = [
                held[place][kind] - (held[place - 1][kind] if adds else 0) for held in rounds
            ]
            found.append(Measurement("memory", "B", tuple(samples), {"part": part, "kind": kind}))
    return found


def run_fresh(arguments: Sequence[str]) -> str:
    """Run Python anew; return what it printed.

    Raises:
        EvaluationError: It fails, or does not end.
    """
    command = [sys.executable, "-P", *arguments]  # whatever files lie where it is called
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=True,
            env=os.environ | ALIKE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        why = next((line for line in lines if line.startswith("error:")), lines[-1])
        raise EvaluationError(
            f"a process of its own fails: {why}", hint=f"see for yourself: {told(command)}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EvaluationError(
            f"a process of its own cannot be measured: {error}",
            hint="leave that part out: see --only",
        ) from error
    return done.stdout


def ask_fresh(what: str, **arguments: Any) -> Any:
    """Run a function of `edge_retrieval.bench.child` in a fresh process; return its answer."""
    question = json.dumps({"what": what, **arguments})
    return json.loads(run_fresh(["-m", "edge_retrieval.bench.child", question]))


def told(command: Sequence[str]) -> str:
    """Return a command as one types it, short enough for a line."""
    import shlex

    return shlex.join(command)[:200]
