"""Do the three set-ups of docs/scale.md work as they stand there?

Question: does every command of the page's blocks, in their order, end well?

    python benchmarks/setups.py
    python benchmarks/setups.py --milvus path/to/milvus-server

The blocks are read from the page. Machines are network and mount namespaces of Linux, with the
addresses and the shared folder of the page and a host name each; the first one alone can see the
drawings, and none of them reaches anything else. This takes root's rights; without them the laptop
and the server are this machine, and the cluster is left out. The drawings are made. In place of the
containers that the page starts stands the server of milvus-lite, or the one that is named. Training
is cut short, by settings that the results show. Writes benchmarks/results/setups.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from namespaces import MACHINES, Lab, laboratory
from scale_index import same

from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.report import save_json

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
RESULTS = Path(__file__).parent / "results"
SHORT = shlex.split("--set backbone=lcnet_050 --set size=64 --set steps=6 --set classes=3")
FIRST = MACHINES[0]
ELSEWHERE = ("pip ", "curl ", "bash standalone")
STAYS = ("dask ", "edge-ret serve")
PORT = 19530
ASK_MILVUS = f"""
from pymilvus import MilvusClient
print(MilvusClient("http://localhost:{PORT}").get_server_version())
"""
ASK_PAGE = """
from urllib.request import urlopen
with urlopen("http://127.0.0.1:8577") as page:
    print(page.status, page.headers["Content-Type"])
"""


@dataclass
class Setup:
    """A set-up of the page: commands, each with the machine that it is for and whether it stays."""

    name: str
    commands: list[tuple[str, str]] = field(default_factory=list)


def setups(page: str) -> list[Setup]:
    """Return the set-ups of the page."""
    part = page[page.index("## Three set-ups") : page.index("\n## What the workers do")]
    told = []
    for section in part.split("\n### ")[1:]:
        one = Setup(section.partition("\n")[0])
        for block in re.findall(r"^```bash\n(.*?)^```$", section, flags=re.S | re.M):
            machines = [FIRST]
            for line in filter(None, block.splitlines()):
                if line.startswith("#"):
                    machines = re.findall(r"10\.0\.0\.\d", line)
                    continue
                one.commands += [(machine, line) for machine in machines]
        told.append(one)
    return told


def make_drawings(folder: Path) -> None:
    """Make the folders `grants` and `made`, and the file `drawing.png`."""
    for name, seed, designs in (("grants", "1", "60"), ("made", "2", "24")):
        command = ["edge-ret", "data", "synth", name, "--designs", designs, "--views", "3"]
        subprocess.run([*command, "--size", "256", "--seed", seed], cwd=folder, check=True)
    shutil.copy(min((folder / "grants").rglob("*.png")), folder / "drawing.png")


class Runner:
    """Runs the commands of a set-up; keeps what came of each.

    Args:
        place: The folder where they run, outside of a laboratory.
        lab: Where there are several machines.
        milvus: Program of a Milvus server; None: milvus-lite's.
    """

    def __init__(self, place: Path, lab: Lab | None, milvus: str | None) -> None:
        self._place, self._lab, self._milvus = place, lab, milvus
        self._environment = dict(os.environ)
        self._staying: list[subprocess.Popen[str]] = []
        self.rows: list[dict[str, Any]] = []

    def run(self, commands: Sequence[tuple[str, str]]) -> None:
        """Run them in order; those that the page gives several machines run at once."""
        done = 0
        while done < len(commands):
            together = [c for c in commands[done:] if c[1] == commands[done][1]]
            self._together([machine for machine, _ in together], together[0][1])
            done += len(together)

    def end(self) -> None:
        """End what stays."""
        for process in reversed(self._staying):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def start_milvus(self) -> str:
        """Start a Milvus on the first machine, and wait until it answers; return what it is."""
        data = self._place / "milvus"
        lite = (
            "from milvus_lite.adapter.grpc.server import run_server;"
            f"run_server({str(data)!r}, host='0.0.0.0', port={PORT})"
        )
        given = [self._milvus, "--data", str(data), "--proxy-port", str(PORT)]
        self._stay(FIRST, given if self._milvus else [sys.executable, "-c", lite])
        said = self._until(ASK_MILVUS, "the Milvus server does not answer")
        return f"{Path(given[0]).name if self._milvus else 'milvus-lite'} {said[-1]}"

    def _until(self, script: str, otherwise: str) -> list[str]:
        """Run a script on the first machine until it ends well; return what it said."""
        for _ in range(60):
            code, said = self._wait(self._start(FIRST, [sys.executable, "-c", script]))
            if not code:
                return said
            time.sleep(1)
        raise SystemExit(f"{otherwise}: {said}")

    def _together(self, machines: list[str], line: str) -> None:
        row = {"machines": machines, "command": line}
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self._environment[name] = value
            return
        if line.startswith(ELSEWHERE):
            self.rows.append(row | {"tried": False})
            return
        words = shlex.split(line)
        if words[0] == "torchrun":
            words += SHORT
        began = time.perf_counter()
        if line.startswith(STAYS):
            processes = [self._stay(machine, words) for machine in machines]
            told = self._until(ASK_PAGE, "no page") if "serve" in words else []
            time.sleep(5)
            codes = [process.poll() for process in processes]
            row |= {"stays": True, "ok": codes == [None] * len(codes), "said": told}
        else:
            ended = [self._wait(one) for one in [self._start(m, words) for m in machines]]
            row |= {"ok": not any(code for code, _ in ended), "said": [said for _, said in ended]}
        self.rows.append(row | {"tried": True, "seconds": time.perf_counter() - began})
        print("ok  " if row["ok"] else "BAD ", ",".join(row["machines"]), line, flush=True)
        if not row["ok"]:
            print(row["said"], flush=True)

    def _stay(self, machine: str, words: list[str]) -> subprocess.Popen[str]:
        process = self._start(machine, words, keep=False)
        self._staying.append(process)
        return process

    def _start(self, machine: str, words: list[str], *, keep: bool = True) -> subprocess.Popen[str]:
        if self._lab:
            words = self._lab.inside(machine, words)
        out = subprocess.PIPE if keep else subprocess.DEVNULL
        return subprocess.Popen(
            words, cwd=self._place, env=self._environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if keep else out,
        )  # fmt: skip

    def _wait(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        said, _ = process.communicate(timeout=600)
        lines = [line for line in said.splitlines() if line.strip() and "\r" not in line]
        return process.returncode, lines[-3:]


def follow(
    one: Setup, place: Path, lab: Lab | None, milvus: str | None
) -> tuple[list[dict[str, Any]], str]:
    """Run the commands of a set-up; return what came of each, and what its store is."""
    print(f"# {one.name}", flush=True)
    runner, server = Runner(place, lab, milvus), ""
    try:
        if any(f":{PORT}" in line for _, line in one.commands):
            server = runner.start_milvus()
        runner.run(one.commands)
    finally:
        runner.end()
    return runner.rows, server


def main() -> None:
    """Follow the page; save what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--milvus", help="program of a Milvus server")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "setups.json")
    args = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result: dict[str, Any] = {"question": "do the set-ups of docs/scale.md work as they stand?"}
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["EDGE_RET_CACHE"] = f"{folder}/cache"
        place, shared = Path(folder) / "own", Path(folder) / "shared"
        place.mkdir()
        make_drawings(place)
        shutil.copytree(place / "made", shared / "made")
        root = os.geteuid() == 0
        lab = stack.enter_context(laboratory(shared, hidden=place)) if root else None
        for one in setups(PAGE.read_text(encoding="utf-8")):
            if lab or {machine for machine, _ in one.commands} == {FIRST}:
                told[one.name], server = follow(one, place, lab, args.milvus)
                result["milvus"] = server or result.get("milvus", "")
            else:
                told[one.name] = "not tried: it takes root's rights"
        first = place / "many-register"
        others = [place / name for name in ("trial-register", "office-register", "my-register")]
        result["registers against that of the laptop"] = {
            other.name: same(first, other) for other in others if other.exists()
        }
    facts = {"cores": available_cores(), "host": host(), "versions": versions(), "created": now()}
    save_json(args.out, {**result, "setups": told, "short": shlex.join(SHORT), **facts})


if __name__ == "__main__":
    main()
