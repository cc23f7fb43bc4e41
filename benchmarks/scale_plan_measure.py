"""What the plan needs to know and no other benchmark tells: bytes and processor seconds a figure.

    python benchmarks/scale_plan.py --measure path/to/uspto-multiview
    python benchmarks/scale_plan.py --measure path/to/uspto-multiview --tiffs path/to/uspto-grants

Measured on a register made from real sheets: the bytes that a figure takes in each of its files;
the processor seconds to index it from its sheet, to embed it again from the picture that the
register keeps, and to project its vector; what the one writer costs, beside workers that embed;
what a shard costs beyond its figures; what it costs to merge registers and to merge the answers of
shards. Each is repeated in rounds, in turn. Writes benchmarks/results/scale_plan.json with every
sample; keys that were not measured now stay.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scale_plan_constants import put

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing.fit import from_png
from edge_retrieval.encoder import load_encoder
from edge_retrieval.encoder.embedding import embed_figures
from edge_retrieval.index.stored import cosines
from edge_retrieval.indexing import index
from edge_retrieval.plan import RegisterVectors
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.register import Register
from edge_retrieval.register.columns import COLUMNS
from edge_retrieval.register.files import DATABASE, pictures_name, vectors_name
from edge_retrieval.scale import Spreading
from edge_retrieval.sources import Design, Problem, open_source

ROUNDS = 3
REPEATED = 10
"""Each design is put in so often, under other numbers: the fixed part of a file weighs less."""

SHARDS = (2, 8, 26, 104)
"""Designs a shard: the more shards, the more they cost beyond their figures."""

CANDIDATES = (64, 256, 1024)
LISTS, EACH = (10, 100, 1000), 10
PROJECTED = 200_000  # vectors


def cpu() -> float:
    """Return processor seconds of this process and of those that it started and that ended."""
    return sum(os.times()[:4])


def took(work: Callable[[], Any]) -> dict[str, float]:
    """Return what some work costs."""
    before, began = cpu(), time.perf_counter()
    work()
    return {"cpu": cpu() - before, "seconds": time.perf_counter() - began}


def again(source: Path, times: int) -> Iterator[Design | Problem]:
    """Yield each design of a source so often, each time under another number."""
    for number in range(times):
        for item in open_source(source):
            if isinstance(item, Design):
                yield replace(item, number=f"{item.number}-{number}")


def register_of(source: Path, folder: Path, bundle: Bundle) -> dict[str, Any]:
    """Make a register with every design `REPEATED` times; return what its files take."""
    with Register.create(folder, bundle) as register:
        register.add(again(source, REPEATED), load_encoder(bundle))
        register.refresh()
        figures, designs = register.figures_count, register.designs_count
        sheets = len(np.unique(register.columns.sheet_of))
    names = {
        "vectors": vectors_name(0), "pictures": pictures_name(0), "database": DATABASE,
        "columns": COLUMNS,
    }  # fmt: skip
    return {
        "figures": figures,
        "designs": designs,
        "sheets": sheets * REPEATED,
        "bytes": {what: (folder / name).stat().st_size for what, name in names.items()},
    }


def from_sheets(source: Path, folder: Path, bundle: Bundle) -> dict[str, Any]:
    """Index every sheet of a folder, cut and all, with one process."""
    kind = "folder" if (source / "sheets").is_dir() else "auto"
    encoder = load_encoder(bundle)
    designs = list(open_source(source / "sheets" if kind == "folder" else source, kind=kind))
    with Register.create(folder, bundle) as register:
        found: list[Any] = []
        cost = took(lambda: found.append(register.add(iter(designs), encoder, jobs=1)))
        return {"sheets": found[0].sheets_read, "figures": found[0].figures_added, **cost}


def from_pictures(folder: Path, bundle: Bundle) -> dict[str, Any]:
    """Embed every figure of a register again, from the picture that it keeps."""
    encoder = load_encoder(bundle)
    with Register.open(folder) as register:
        rows = register.living_rows()
        made: list[Any] = []

        def embed() -> None:
            for start in range(0, len(rows), 16):
                pixels = [from_png(register.picture(int(row))) for row in rows[start : start + 16]]
                made.append(embed_figures(encoder, pixels))

        cost = took(embed)
        old, new = register.vectors[rows], np.concatenate(made)
        alike = (old * new).sum(axis=1)
        return {
            "figures": len(rows),
            **cost,
            "cosine": {"mean": float(alike.mean()), "least": float(alike.min())},
            "overlap@10": overlap(old @ old.T, old @ new.T),
        }


def overlap(one: np.ndarray, other: np.ndarray, k: int = 10) -> float:
    """Return the share of the k best of each row that are the same; (N, N), itself left out."""
    best = []
    for scores in (one.copy(), other.copy()):
        np.fill_diagonal(scores, -np.inf)
        best.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    same = [len(np.intersect1d(a, b)) for a, b in zip(*best, strict=True)]
    return float(np.mean(same)) / k


def projected(folder: Path, dim: int) -> dict[str, float]:
    """Multiply a file of vectors by a matrix, make them of length 1 again, write them to a file."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((dim, dim), np.float32)
    old, new = folder / "old.f32", folder / "new.f32"
    if not old.exists():
        rng.standard_normal((PROJECTED, dim), np.float32).tofile(old)

    def project() -> None:
        vectors = np.memmap(old, "<f4", "r").reshape(-1, dim)
        with new.open("wb") as file:
            for start in range(0, len(vectors), 16_384):
                rows = vectors[start : start + 16_384] @ matrix  # (n, D)
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                file.write(rows.astype("<f4").data)

    return {"vectors": PROJECTED, **took(project)}


def spread(source: Path, folder: Path, bundle: Bundle, designs: int) -> dict[str, Any]:
    """Index with one worker; return what the worker costs, and what the writer does."""
    spreading = Spreading("processes", folder / "work", workers=1, shard=designs)
    own = resource.getrusage(resource.RUSAGE_SELF)
    before, began = cpu(), time.perf_counter()
    result = index(source, folder / "register", bundle=bundle.folder, spread=spreading)
    after = resource.getrusage(resource.RUSAGE_SELF)
    writer = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    return {
        "shard": designs,
        "shards": -(-result.designs_added // designs),
        "figures": result.figures_added,
        "sheets": result.sheets_read,
        "writer_cpu": writer,
        "workers_cpu": cpu() - before - writer,
        "seconds": time.perf_counter() - began,
    }


def merged(folder: Path, out: Path) -> dict[str, Any]:
    """Copy all designs of a register into an empty one."""
    with Register.open(folder) as old, Register.create(out, old.bundle, old.levels) as new:
        cost = took(lambda: new.merge_from(old))
        return {"figures": old.figures_count, **cost}


def rescored(folder: Path, many: int, rng: np.random.Generator) -> dict[str, Any]:
    """Read so many vectors by their place, and score them, as after a first pass or a graph."""
    with Register.open(folder) as register:
        vectors = RegisterVectors(register)
        query = np.array(register.vectors[0])
        picks = [np.sort(rng.choice(len(vectors), many, replace=False)) for _ in range(20)]
        cosines(vectors, picks[0], query)
        samples = []
        for rows in picks:
            began = time.perf_counter()
            cosines(vectors, rows, query)
            samples.append(time.perf_counter() - began)
        return {"candidates": many, "samples": samples}


def best_of(lists: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k best of ``(S, k)`` scores: what joins the answers of S shards."""
    flat = lists.ravel()
    best = np.argpartition(flat, len(flat) - k)[len(flat) - k :]
    return best[np.argsort(-flat[best], kind="stable")]


def joined(many: int, rng: np.random.Generator) -> dict[str, Any]:
    """Join the answers of so many shards."""
    samples = []
    for _ in range(50):
        lists = rng.standard_normal((many, EACH)).astype(np.float32)
        began = time.perf_counter()
        best_of(lists, EACH)
        samples.append(time.perf_counter() - began)
    return {"lists": many, "samples": samples}


def measure(source: Path, tiffs: Path | None, out: Path, say: Callable[[str], None]) -> None:
    """Measure everything, in rounds; save."""
    bundle = Bundle.open(default_bundle_path())
    rng = np.random.default_rng(0)
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        say("a register of real sheets")
        kept = register_of(source, root / "kept", bundle)
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            place = root / str(number)
            place.mkdir()
            row: dict[str, list[Any]] = {
                "from_sheets": [from_sheets(source, place / "sheets", bundle)],
                "from_pictures": [from_pictures(place / "sheets", bundle)],
                "projection": [projected(root, bundle.dim)],
                "merge": [merged(root / "kept", place / "merged")],
                "rescore": [rescored(root / "kept", many, rng) for many in CANDIDATES],
                "join": [joined(many, rng) for many in LISTS],
            }
            if tiffs is not None:
                row["from_tiffs"] = [from_sheets(tiffs, place / "tiffs", bundle)]
            row["spread"] = []
            for designs in SHARDS:
                (place / str(designs)).mkdir()
                row["spread"].append(spread(source, place / str(designs), bundle, designs))
            for name, rows in row.items():
                found.setdefault(name, []).extend(rows)
    about = {
        "question": "what does a figure take, in bytes and processor seconds",
        "source": source.name,
        "bundle": bundle.name,
        "size": bundle.preprocessing.size,
        "dim": bundle.dim,
    }
    put(out, {**about, "register": kept, **found, "host": host(), "versions": versions(),
              "created": now()})  # fmt: skip
