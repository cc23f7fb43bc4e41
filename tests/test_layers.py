"""The arrows between modules: who may import whom, found by reading the code and by running it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    (
        "errors",
        "arrays",
        "progress",
        "staging",
        "page",
        "cache",
        "design_number",
        "human",
        "limits",
        "requirements",
    ),
    ("provenance", "host", "taxonomy", "speed", "split"),
    ("sources", "drawing", "index", "metrics", "report", "report_table"),
    ("golden", "calibration", "bundle_files", "bundle", "encoder", "clipping"),
    ("register",),
    ("filters", "plan", "query", "voting", "facets", "answers", "search", "preparing"),
    ("store",),
    (
        "session",
        "indexing",
        "reembedding",
        "sample",
        "evidence",
        "watch",
        "bench",
        "bench_page",
        "evaluate",
        "unrelated",
        "calibrating",
        "doctor",
        "causes",
        "licences",
        "statement",
        "scale",
    ),
    ("server",),
    ("cli",),
    ("__main__",),
)
"""From the bottom. A module imports what lies below it; within a layer, so long as no circle forms.
A package is one entry: its files are of its layer."""

LAYER_OF = {name: number for number, layer in enumerate(LAYERS) for name in layer}

TRAINING = {"torch", "torchvision", "timm", "onnx", "onnxscript", "openvino", "nncf", "distill"}
STORE = {"pymilvus", "milvus_lite", "grpc"}
"""What reaches a store elsewhere, where a user names one."""
CLUSTER = {"distributed", "dask"}
"""What gives work to workers elsewhere, where a user asks for it."""
LAZY = TRAINING | STORE | CLUSTER | {
    "hnswlib", "matplotlib", "onnxruntime", "pyarrow", "pypdfium2", "starlette", "uvicorn",
}  # fmt: skip
"""Never imported while a module of edge_retrieval is: absent from a device, or slow to load."""
COMPILED = {"hnswlib"}
"""Not in the base install on a Raspberry Pi."""

NETWORK = {
    "requests", "httpx", "urllib3", "aiohttp", "urllib.request", "http.client", "ftplib", "smtplib",
    "xmlrpc.client", "socket", "ssl",
}  # fmt: skip
SERVES = {"server"}
"""The local page: it listens on this machine, and is the one layer that may."""


class Import(NamedTuple):
    """One name that a file imports, in full ("edge_retrieval.sources.design.Box")."""

    file: str
    line: int
    name: str
    runs_at_import: bool

    def of(self, modules: set[str]) -> bool:
        return any(self.name == module or self.name.startswith(module + ".") for module in modules)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def imports_of(path: Path, root: Path = ROOT) -> Iterator[Import]:
    """Yield each import of a file; in functions and for type checkers they do not run at import."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    where = path.relative_to(root).as_posix()

    def visit(node: ast.AST, runs: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(where, node.lineno, alias.name, runs)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                yield Import(where, node.lineno, f"{base}.{alias.name}", runs)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from visit(child, False)
            for child in node.orelse:
                yield from visit(child, runs)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, runs and not function)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def unit_of(path: Path) -> str:
    """Return the entry of LAYERS that a file of edge_retrieval belongs to; "" for __init__."""
    parts = path.relative_to(ROOT / "edge_retrieval").with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def arrows() -> Iterator[tuple[str, str, Import]]:
    """Yield (unit, the unit of edge_retrieval that it imports, where), wherever in the file."""
    for path in files_of("edge_retrieval"):
        for found in imports_of(path):
            parts = found.name.split(".")
            if parts[0] == "edge_retrieval" and parts[1:] != ["__version__"]:
                yield unit_of(path), parts[1] if len(parts) > 1 else "", found


def test_every_module_has_its_layer():
    missing = {unit_of(path) for path in files_of("edge_retrieval")} - LAYER_OF.keys() - {""}
    assert not missing, f"say in LAYERS where these stand: {', '.join(sorted(missing))}"


def test_a_module_imports_only_from_its_layer_and_those_below():
    wrong = [
        str(found)
        for unit, imported, found in arrows()
        if unit and LAYER_OF.get(imported, len(LAYERS)) > LAYER_OF.get(unit, -1)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_forms_within_a_layer():
    below: dict[str, set[str]] = {}
    for unit, imported, _ in arrows():
        if unit != imported:
            below.setdefault(unit, set()).add(imported)

    def reaches(start: str, goal: str) -> bool:
        seen, left = set(), [start]
        while left:
            for unit in below.get(left.pop(), ()):
                if unit not in seen:
                    seen.add(unit)
                    left.append(unit)
        return goal in seen

    circles = [unit for unit in below if unit and reaches(unit, unit)]
    assert not circles, f"these import one another: {', '.join(sorted(circles))}"


def test_nothing_heavy_is_imported_at_module_level():
    wrong = [
        str(found)
        for path in files_of("edge_retrieval")
        for found in imports_of(path)
        if found.runs_at_import and found.of(LAZY)
    ]
    assert not wrong, "\n".join(wrong)


def test_edge_retrieval_imports_torch_nowhere_and_distill_only_in_a_command():
    wrong = [
        str(found)
        for path in files_of("edge_retrieval")
        for found in imports_of(path)
        if found.of({"torch", "torchvision", "timm"})
        or (found.of({"distill"}) and unit_of(path) != "cli")
    ]
    assert not wrong, "\n".join(wrong)


def test_distill_imports_neither_the_command_line_nor_the_server():
    wrong = [
        str(found)
        for path in files_of("distill")
        for found in imports_of(path)
        if found.of({"edge_retrieval.cli", "edge_retrieval.server", "typer", "rich"})
    ]
    assert not wrong, "\n".join(wrong)


def test_no_code_reaches_for_the_network():
    wrong = [
        str(found)
        for package in ("edge_retrieval", "distill")
        for path in files_of(package)
        for found in imports_of(path)
        if found.of(NETWORK) and not (package == "edge_retrieval" and unit_of(path) in SERVES)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_layer_of_its_own_reaches_for_a_store():
    found = [
        (unit_of(path), str(found))
        for path in files_of("edge_retrieval")
        for found in imports_of(path)
        if found.of(STORE)
    ]
    assert found
    assert {unit for unit, _ in found} == {"store"}, found
    assert not [f for path in files_of("distill") for f in imports_of(path) if f.of(STORE)]


SAMPLE = """
import a, b.c
from .. import near
from .there import thing
if TYPE_CHECKING:
    import typed
else:
    import untyped
try:
    import tried
except ImportError: pass
class K:
    import held
    def method(self):
        import lazy
"""


def test_imports_are_found_wherever_they_stand(tmp_path):
    (tmp_path / "p" / "q").mkdir(parents=True)
    path = tmp_path / "p" / "q" / "m.py"
    path.write_text(SAMPLE, encoding="utf-8")
    found = {(i.name, i.runs_at_import) for i in imports_of(path, tmp_path)}
    assert found == {
        ("a", True), ("b.c", True), ("p.near", True), ("p.q.there.thing", True), ("typed", False),
        ("untyped", True), ("tried", True), ("held", True), ("lazy", False),
    }  # fmt: skip


# ------------------------------------------------------------------ by running it

PROBE = """
import importlib, json, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Blocked())
import edge_retrieval.cli.commands
edge_retrieval.cli.commands.application()
after_cli = sorted(sys.modules)
for module in pkgutil.walk_packages(edge_retrieval.__path__, "edge_retrieval."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps({"cli": after_cli, "all": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Names in sys.modules, after cli and after all, where only what every device has can load."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(sorted(TRAINING | COMPILED | CLUSTER))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {name: set(modules) for name, modules in json.loads(result.stdout).items()}


def test_every_module_can_be_imported_without_what_a_device_may_lack(loaded):
    assert not loaded["all"] & (TRAINING | COMPILED | CLUSTER)
    assert {f"edge_retrieval.{name}" for name in ("cli", "index", "metrics")} <= loaded["all"]


def test_the_command_line_loads_nothing_that_opens_sockets(loaded):
    assert not loaded["cli"] & NETWORK


def test_the_command_line_loads_no_inference_engine_before_it_is_needed(loaded):
    assert not loaded["cli"] & LAZY
