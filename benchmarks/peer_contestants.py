"""Who takes part in peers.py: how each is told to index a folder and to search it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from cold_start import RCLIP
from peer_network import DIM
from peer_runs import Command, Contestant

from edge_retrieval.register import Register

SCRIPT = Path(__file__).parent / "peer_script.py"

LEFT_OUT = {
    "rclip with its own CLIP weights": "they are fetched from a hub; its program is measured with"
    " the network that all others run",
    "sentence-transformers, ONNX backend": "pip finds no optimum-onnx, which it exports by, that"
    " installs together with sentence-transformers 6.2, and a network of timm in a module of one's"
    " own has no such export; its torch path is measured",
    "clip-retrieval, ultralytics (VisualAISearch)": "their networks come from a hub, and neither"
    " takes a folder and an ONNX file of one's own",
    "immich": "a set of containers with a database server, and networks from a hub",
    "DesignVision, DesignView, Global Design Database": "closed, and online only",
}
"""What stands in the field but not in the measurement, and why."""


def contestants(ours: str, peers: str, networks: Path) -> list[Contestant]:
    """Return all that index drawings.

    Args:
        ours: An interpreter with edge-retrieval.
        peers: One with the peers; may be the same.
        networks: What `peer_network.make_networks` wrote.
    """
    return [
        edge_ret(
            "edge-ret, as it ships", ours, None, "its own INT8 network, cuts the figures out"
        ),
        edge_ret(
            "edge-ret, the network of all", ours, networks / "bundle", "cuts the figures out"
        ),
        rclip(peers, networks / "rclip"),
        scripted(
            "fastembed + numpy", ("fastembed",), peers, "fastembed", networks / "fastembed"
        ),
        scripted(
            "fastembed on all cores + numpy", ("fastembed",), peers, "fastembed-parallel",
            networks / "fastembed",
        ),
        scripted("timm + torch", ("timm", "torch"), peers, "timm", networks / "torch"),
        scripted(
            "sentence-transformers (torch)", ("sentence-transformers", "timm", "torch"), peers,
            "sentence-transformers", networks / "torch", "a module of one's own around timm",
        ),
    ]  # fmt: skip


def edge_ret(name: str, python: str, bundle: Path | None, note: str) -> Contestant:
    """Ours, from the command line."""
    program = [python, "-m", "edge_retrieval.cli"]
    taken = [] if bundle is None else ["--bundle", str(bundle)]

    def home(store: Path) -> dict[str, str]:
        return {"EDGE_RET_CACHE": str(store / "cache")}

    def index(sheets: Path, store: Path) -> Command:
        words = [*program, "index", str(sheets), "-o", str(store / "register"), *taken, "--json"]
        return Command(words, home=home(store))

    def search(drawing: Path, store: Path) -> Command:
        words = [*program, "search", str(drawing), "-r", str(store / "register"), "--json"]
        return Command(words, home=home(store))

    return Contestant(
        name, ("edge-retrieval",), python, index, search, names_of_register, note=note
    )


def names_of_register(store: Path) -> set[str]:
    """Return the names of the sheets whose figures are in a register."""
    with Register.open(store / "register") as register:
        return {figure.sheet for figure in register.figures(register.living_rows())}


def rclip(python: str, given: Path) -> Contestant:
    """rclip from the command line, its constant set to the width of our network."""
    program = [python, "-c", RCLIP.format(dim=DIM), "-t", "10"]

    def index(sheets: Path, store: Path) -> Command:
        # It has no command that only indexes: a search does, unless told not to.
        drawing = sorted(sheets.iterdir())[0]
        return Command([*program, f"./{drawing.name}"], sheets, {"RCLIP_DATADIR": str(store)})

    def search(drawing: Path, store: Path) -> Command:
        sheets = drawing.parent / "sheets"  # it looks for what lies where it is started
        return Command([*program, "-n", str(drawing)], sheets, {"RCLIP_DATADIR": str(store)})

    def kept(store: Path) -> set[str]:
        with closing(sqlite3.connect(store / "db.sqlite3")) as database:
            found = database.execute("SELECT filepath FROM images WHERE deleted IS NULL")
            return {Path(path).name for (path,) in found}

    note = "its indexing ends with one search"
    return Contestant("rclip", ("rclip",), python, index, search, kept, given, note)


def scripted(
    name: str, packages: tuple[str, ...], python: str, way: str, model: Path, note: str = ""
) -> Contestant:
    """A library that has no command of its own: the script that its user would write."""

    def told(what: str) -> Callable[[Path, Path], Command]:
        def command(given: Path, store: Path) -> Command:
            return Command([python, str(SCRIPT), way, what, str(model), str(store), str(given)])

        return command

    return Contestant(
        name, packages, python, told("index"), told("search"), names_of_script, note=note
    )


def names_of_script(store: Path) -> set[str]:
    """Return the names that `peer_script.py` has written, as far as their vectors are there."""
    names = (store / "names").read_text(encoding="utf-8").splitlines()
    rows = np.fromfile(store / "vectors.f32", "<f4").size // DIM
    return set(names[:rows])
