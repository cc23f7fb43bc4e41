"""Every reader of the project, with small files to begin from and ways to spoil them.

Whatever the bytes are, a reader answers, raises an `EdgeRetrievalError`, or yields a `Problem`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import fuzz_mutators as spoil
import numpy as np
from fuzz_folders import (
    Kept,
    bundle_sealed,
    by_check,
    by_digest,
    by_sql,
    columns_lying,
    graph_side,
    head_sealed,
    make_register,
    pass_lying,
    read_bundle,
    read_register,
    sqlite_pages,
    watched,
)
from fuzz_seeds import (
    GRANT,
    SPLIT,
    TABLE,
    TREE,
    YEAR,
    packed,
    page,
    parquet,
    pdf,
    plain_pdf,
    pngs,
    saved,
    tiffs,
)

from edge_retrieval.drawing import cut_sheet, fit, whole_sheet
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.evidence import read_record, replay
from edge_retrieval.register import Register
from edge_retrieval.report import Report
from edge_retrieval.sources import Box, Design, Problem, open_source
from edge_retrieval.split import read_split
from edge_retrieval.watch import read_kept
from tests import fakes

PINNED = fakes.PINNED


SHEETS = 3
"""Sheets of a design that are read and cut."""


@dataclass(frozen=True)
class Reader:
    """A reader with what is fed to it.

    Attributes:
        name: Of the kind.
        seeds: Files that it reads well.
        mutate: Makes others of them.
        read: Reads the bytes, in an empty folder; raises what the reader raises.
        share: How often it is taken, next to others.
    """

    name: str
    seeds: Sequence[bytes]
    mutate: spoil.Mutator
    read: Callable[[bytes, Path], None]
    share: int = 1

    def input_of(self, seed: int, number: int) -> bytes:
        """Return input `number` of this kind: the same for the same seed."""
        rng = random.Random(f"{seed} {self.name} {number}")
        data = rng.choice(self.seeds)
        if number < len(self.seeds):
            return self.seeds[number]  # the seeds themselves are read first
        way = rng.random()
        if way < 0.6:
            return self.mutate(data, rng)
        if way < 0.9:
            return spoil.blind(data, rng)
        return spoil.spliced(list(self.seeds))(data, rng)


def read_drawing(data: bytes, folder: Path) -> None:
    """Cut a sheet, by itself, by boxes or not at all, and fit what comes."""
    way = zlib.crc32(data) % 4
    if way == 0:
        figures = [whole_sheet(data, where="a")]
    elif way == 1:
        figures = cut_sheet(data, where="a", boxes=[Box(0, 0, 40, 40), Box(3, 3, 10**9, 10**9)])
    else:
        figures = cut_sheet(data, where="a")
    for figure in figures[:4]:
        assert min(figure.pixels.shape) > 0, figure.pixels.shape
        assert np.isfinite(fit(figure, fakes.PREPROCESSING)).all()


def drain(items: Iterable[Design | Problem]) -> None:
    """Take all that a source yields; read and cut some sheets."""
    for item in items:
        told = [item.where, item.number] if isinstance(item, Design) else [item.where, item.reason]
        for text in told:
            assert isinstance(text, str), text
            text.encode()
        for sheet in item.sheets[:SHEETS] if isinstance(item, Design) else ():
            with contextlib.suppress(EdgeRetrievalError):
                data = sheet.read()
                if len(data) < 1 << 16:
                    cut_sheet(data, where=sheet.where, boxes=sheet.boxes)


def source(name: str, kind: str, beside: Mapping[str, bytes]) -> Callable[[bytes, Path], None]:
    """Return what reads a source whose one file is given, with others beside it."""

    def read(data: bytes, folder: Path) -> None:
        for other, content in beside.items():
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(content)
        (folder / name).write_bytes(data)
        alone = not beside
        drain(open_source(folder / name if alone else folder, kind=kind))

    return read


@cache
def small_files() -> dict[str, bytes]:
    """Return what a tree may hold, by kind."""
    return {
        "png": pngs()[0],
        "tif": tiffs()[0],
        "zip": packed(),
        "tgz": packed("gz"),
        "empty": b"",
    }


def read_tree(data: bytes, folder: Path) -> None:
    """Lay down a tree of files, links and pipes that JSON tells of, and read it."""
    tree = {"a": "png"}
    with contextlib.suppress(ValueError):
        told = json.loads(data)
        tree = told if isinstance(told, dict) else tree
    small = small_files()
    for name, what in tree.items():
        path = Path(os.path.normpath(folder / "r" / name.lstrip("/")))
        if not path.is_relative_to(folder):
            continue
        with contextlib.suppress(OSError, ValueError):  # the system takes no such name
            path.parent.mkdir(parents=True, exist_ok=True)
            if str(what).startswith("-> "):
                path.symlink_to(str(what)[3:])
            elif what == "fifo":
                os.mkfifo(path)
            elif what == "dir":
                path.mkdir()
            else:
                path.write_bytes(small.get(str(what), small["png"]))
    (folder / "r").mkdir(exist_ok=True)
    drain(open_source(folder / "r"))


@dataclass
class Readers:
    """All readers, made once in a process.

    Args:
        work: A folder for what they keep.
        real: A folder of real files, or None.
    """

    work: Path
    real: Path | None = None
    all: dict[str, Reader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for reader in (*self._drawings(), *self._sources(), *self._texts(), *self._folders()):
            self.all[reader.name] = reader

    def _real(self, *suffixes: str) -> list[bytes]:
        if self.real is None:
            return []
        paths = [p for p in sorted(self.real.rglob("*")) if p.suffix.lower() in suffixes]
        small = [p for p in paths if p.is_file() and p.stat().st_size < 1 << 17]
        return [path.read_bytes() for path in small[:: max(1, len(small) // 4)][:4]]

    def _drawings(self) -> Iterator[Reader]:
        grey, colour = page(), page().convert("RGB")
        jpegs = [
            saved(grey, "JPEG"),
            saved(colour, "JPEG", progressive=True),
            saved(colour.convert("CMYK"), "JPEG"),
        ]
        webps = [saved(colour, "WEBP"), saved(colour.convert("RGBA"), "WEBP", lossless=True)]
        bmps = [saved(image, "BMP") for image in (grey, colour, grey.convert("1"))]
        gifs = [saved(grey, "GIF"), saved(grey, "GIF", save_all=True, append_images=[page(40)])]
        by_tag, by_chunk, by_mark = (
            spoil.mixed(one, spoil.blind) for one in (spoil.tiff, spoil.png, spoil.marked)
        )
        real_tiffs, real_pngs = self._real(".tif", ".tiff"), self._real(".png")
        yield Reader("tiff", tiffs() + real_tiffs, by_tag, read_drawing, 14)
        yield Reader("png", pngs() + real_pngs, by_chunk, read_drawing, 12)
        yield Reader("jpeg", jpegs + self._real(".jpg"), by_mark, read_drawing, 7)
        yield Reader("webp", webps, by_mark, read_drawing, 4)
        yield Reader("bmp", bmps, by_mark, read_drawing, 4)
        yield Reader("gif", gifs, by_mark, read_drawing, 4)
        with contextlib.suppress(ModuleNotFoundError):
            import pypdfium2  # noqa: F401

            pdfs = [plain_pdf(), pdf(), *self._real(".pdf")]
            yield Reader("pdf", pdfs, spoil.pdf, read_drawing, 5)

    def _sources(self) -> Iterator[Reader]:
        inner = spoil.mixed(spoil.blind, spoil.xml)
        in_zip, in_tar = spoil.archive_zip(inner), spoil.archive_tar(inner)
        sheets = {"1.png": pngs()[0], "2.png": pngs()[1]}
        grants = {"A-D00000.TIF": tiffs()[0], "A-D00001.TIF": tiffs()[0]}
        year = {"segmented/1.png": pngs()[0], "original/2.png": pngs()[1]}
        lines = "\n".join(json.dumps(row) for row in YEAR).encode()
        array = json.dumps(YEAR).encode()
        rows = spoil.mixed(spoil.csv, spoil.blind)
        objects = spoil.mixed(spoil.json_words, _tree_of_objects)
        yield Reader("zip", [packed(), *self._real(".zip")], in_zip, source("a.zip", "auto", {}), 4)
        yield Reader("tar", [packed("tar")], in_tar, source("a.tar", "auto", {}), 3)
        gz = spoil.mixed(spoil.gzipped(in_tar), spoil.gzipped(spoil.blind))
        yield Reader("tar.gz", [packed("gz")], gz, source("a.tar.gz", "folder", {}), 3)
        xml = [GRANT.encode(), *self._real(".xml")]
        yield Reader("uspto", xml, spoil.xml, source("A.XML", "uspto", grants), 5)
        yield Reader(
            "deeppatent2",
            [lines, array],
            objects,
            source("design2021.json", "deeppatent2", year),
            4,
        )
        table = [TABLE.encode(), *self._real(".csv")]
        yield Reader("table", table, rows, source("metadata.csv", "table", sheets), 4)
        if (data := parquet()) is not None:
            read = source("metadata.parquet", "table", sheets)
            yield Reader("parquet", [data], spoil.blind, read, 3)
        tree = [json.dumps(TREE).encode()]
        yield Reader("folder", tree, spoil.mixed(_tree_of_files, spoil.tree()), read_tree, 2)

    def _texts(self) -> Iterator[Reader]:
        reports = [(PINNED / f"report-{n}.json").read_bytes() for n in (1, 2)]

        def read_report(data: bytes, folder: Path) -> None:
            (folder / "r.json").write_bytes(data)
            Report.load(folder / "r.json").to_json()

        def read_split_file(data: bytes, folder: Path) -> None:
            (folder / "s.toml").write_bytes(data)
            read_split(folder / "s.toml").sides()

        yield Reader("report", reports, spoil.mixed(spoil.tree(), spoil.json_words), read_report, 2)
        yield Reader("split", [SPLIT.encode()], spoil.toml, read_split_file, 2)
        with contextlib.suppress(ModuleNotFoundError):
            from distill.config import TrainConfig
            from distill.recipes import recipe_path

            def read_recipe(data: bytes, folder: Path) -> None:
                (folder / "r.toml").write_bytes(data)
                TrainConfig.load(folder / "r.toml")

            recipe = [recipe_path("resnet18").read_bytes()]
            yield Reader("recipe", recipe, spoil.toml, read_recipe, 2)

    def _folders(self) -> Iterator[Reader]:
        fakes.tiny_bundle(self.work / "bundle", prefixes=(16, 32))
        kept, told = Kept.of(self.work / "bundle"), Kept.of(PINNED / "bundle-2-told")
        sealed_bundle = spoil.tree(bundle_sealed)
        for name, seeds, mutate, share in (
            ("bundle.json", [kept.files["bundle.json"]], sealed_bundle, 2),
            ("golden.npz", [kept.files["golden.npz"]], spoil.archive_zip(spoil.blind), 2),
            ("model.onnx", [kept.files["model.onnx"]], spoil.blind, 2),
        ):
            yield Reader(name, seeds, mutate, read_bundle(kept, name), share)
        read = read_bundle(told, "bundle.json")
        yield Reader("calibration", [told.files["bundle.json"]], sealed_bundle, read, 2)
        register, records = make_register(self.work)
        folder = self.work / "mine"
        with Register.open(folder) as opened:
            vector = np.array(opened.vectors[:1])
        json_file = spoil.mixed(spoil.tree(), spoil.json_words)
        ways: dict[str, spoil.Mutator] = {
            "designs.sqlite": spoil.mixed(by_sql, sqlite_pages, spoil.blind),
            "columns.bin": spoil.mixed(columns_lying, columns_lying, spoil.blind),
            "pass.u8": spoil.mixed(pass_lying, spoil.blind),
            "head.json": spoil.mixed(json_file, spoil.tree(head_sealed)),
            "register.json": spoil.mixed(json_file, spoil.tree(by_check), spoil.tree(by_check)),
            "graph.hnsw.json": spoil.mixed(json_file, graph_side),
        }
        files = [name for name in register.files if "/" not in name and name != "writer.lock"]
        for name in files:
            read = read_register(register, name, vector)
            share = 3 if name == "designs.sqlite" else 1
            seeds = [register.files[name]]
            if seeds[0]:
                yield Reader(name, seeds, ways.get(name, spoil.blind), read, share)
        yield from self._told(folder, records)

    def _told(self, folder: Path, records: list[bytes]) -> Iterator[Reader]:
        """Yield the readers of what was told of a search and of a watch."""
        shutil.copytree(folder, self.work / "theirs" / "mine")

        def read_a_record(data: bytes, here: Path) -> None:
            record = read_record(data, where="r.json")
            with Register.open(self.work / "theirs" / "mine") as register:
                replay(record, register, fakes.FakeEncoder(register.bundle.fingerprint))

        def read_a_watch(data: bytes, here: Path) -> None:
            (here / "watch.json").write_bytes(data)
            with Register.open(self.work / "theirs" / "mine") as register:
                read_kept(here, register)

        told = spoil.mixed(spoil.tree(by_digest), spoil.tree(by_digest), spoil.json_words)
        yield Reader("record", records, told, read_a_record, 3)
        yield Reader("watch.json", [watched(folder)], told, read_a_watch, 3)


def _tree_of_objects(data: bytes, rng: random.Random) -> bytes:
    return spoil.tree()(json.dumps(YEAR).encode(), rng)


def _tree_of_files(data: bytes, rng: random.Random) -> bytes:
    """Change names and kinds of a tree of files."""
    tree = list(TREE.items())
    for _ in range(rng.choice((1, 2, 5))):
        name, what = rng.choice(tree)
        to = rng.choice(("..", ".", "06", "../..", "a", "/dev/zero", "1.png"))
        kinds = ("png", "zip", "tgz", "fifo", "dir", "empty", f"-> {to}")
        parts = name.split("/")
        parts[rng.randrange(len(parts))] = rng.choice((*spoil.TEXTS, "a", "1.png", "x.zip"))
        tree.append(("/".join(parts), rng.choice((what, *kinds))))
    return json.dumps(dict(tree)).encode()
