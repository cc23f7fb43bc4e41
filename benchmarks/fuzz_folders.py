"""Bundles, registers, records and watches: how they are spoilt with checksums that are right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_mutators as spoil
import numpy as np

from edge_retrieval.bundle import Bundle
from edge_retrieval.bundle_files import FileRecord, fingerprint_of
from edge_retrieval.calibration import digest_of
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.evidence import Asked, make_record, record_text
from edge_retrieval.index.graph_file import sealed
from edge_retrieval.index.pass_file import PAGE, PRELUDE
from edge_retrieval.preparing import prepare
from edge_retrieval.query import query_from_bytes
from edge_retrieval.register import Register
from edge_retrieval.register.manifest import _check
from edge_retrieval.register.repairing import faults_of, repair
from edge_retrieval.register.state import Head
from edge_retrieval.search import search
from edge_retrieval.watch import read_kept
from tests import fakes

SCHEMES = (
    "DROP TABLE designs; CREATE VIEW designs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT"
    " i + 1 FROM n) SELECT i id, 'D' || i number, 0 node, '' source, 0 dead, '{}' facts, x'' digest"
    " FROM n",
    "DROP TABLE state; CREATE VIEW state AS SELECT 1 one, 1 generation, 0 epoch, '' snapshot,"
    " zeroblob(900000000) digest",
    "CREATE TRIGGER t AFTER INSERT ON designs BEGIN DELETE FROM designs; END",
    "CREATE VIRTUAL TABLE v USING fts5(x)",
    "ALTER TABLE figures RENAME COLUMN crc TO other",
    "DROP TABLE problems",
    "DROP TABLE batches",
    "DELETE FROM state",
    "DELETE FROM nodes",
    "DELETE FROM batches",
    "INSERT INTO state VALUES (2, 1, 0, 'x', x'00')",
    "UPDATE nodes SET parent = id",
    "UPDATE nodes SET name = x'ff00'",
    "UPDATE batches SET rows = -rows",
    "UPDATE batches SET rows = 1 << 60",
    "UPDATE batches SET first = 'many'",
    "UPDATE batches SET pictures_end = 1e300",
    "UPDATE figures SET sheet = NULL",
    "UPDATE figures SET row = row + (1 << 40)",
    "UPDATE figures SET design = 99",
    "UPDATE figures SET picture_bytes = 1 << 62",
    "UPDATE designs SET facts = '[' || facts",
    "UPDATE designs SET facts = zeroblob(100000)",
    "UPDATE designs SET dead = 'x'",
    "UPDATE designs SET number = 'D' || char(10) || id",
    "UPDATE designs SET node = -1",
    "INSERT INTO problems VALUES (x'ff', 1.5)",
    "UPDATE state SET epoch = 7",
    "UPDATE state SET generation = -1",
    "PRAGMA user_version = 1",
    "PRAGMA user_version = 99",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
)
"""What somebody may do to a database who knows SQL."""


@dataclass
class Kept:
    """A folder with all its files, to be laid out anew for each input.

    Attributes:
        files: Name below the folder -> bytes.
    """

    files: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> Kept:
        """Take what lies in a folder."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})

    def lay(self, folder: Path, changed: Mapping[str, bytes]) -> Path:
        """Write the files, some of them changed."""
        for name, data in {**self.files, **changed}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder


def named_anew(kept: Kept, name: str, data: bytes) -> bytes:
    """Return a bundle's manifest that vouches for another file."""
    told = json.loads(kept.files["bundle.json"])
    told["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return json.dumps(bundle_sealed(told)).encode()


def bundle_sealed(told: Any) -> Any:
    """Return a bundle's manifest with the fingerprint that fits the rest."""
    files = {name: FileRecord(**record) for name, record in told["files"].items()}
    with contextlib.suppress(EdgeRetrievalError, OverflowError):
        settings = Preprocessing.from_json(told["preprocessing"])
        told["fingerprint"] = fingerprint_of(told["format"], files, told["dim"], settings)
        if "calibration" in told:
            told["calibration"]["fingerprint"] = told["fingerprint"]
    return told


def read_bundle(kept: Kept, name: str) -> Callable[[bytes, Path], None]:
    """Return what opens a bundle of which one file is given, as its manifest says if it can."""

    def read(data: bytes, folder: Path) -> None:
        changed = {name: data}
        if name != "bundle.json":
            changed["bundle.json"] = named_anew(kept, name, data)
        bundle = Bundle.open(kept.lay(folder, changed))
        bundle.golden()
        bundle.fitted()
        if name == "model.onnx":
            encoder = load_encoder(bundle)
            encoder.embed(np.zeros((1, 1, 32, 32), np.float32))

    return read


def make_register(folder: Path) -> tuple[Kept, list[bytes]]:
    """Return a small register with all its caches, and the record of a search in it."""
    bundle = fakes.tiny_bundle(folder / "tiny")
    encoder = load_encoder(bundle)
    with Register.create(folder / "mine", bundle) as register:
        for design in fakes.designs(5, views=2):
            register.add([design], encoder)
        register.remove(["D0003"])
        register.columns  # noqa: B018  (kept on disk for the next)
        prepare(register)
        data = fakes.drawing(1, 7)
        query = query_from_bytes(data, "q.png")
        results = search(register, [query], encoder, k=3)
        drawings = {query.sha256: data}
        records = [
            record_text(
                make_record(results, register=register, asked=Asked(3), drawings=kept)
            ).encode()
            for kept in (drawings, {})
        ]
    return Kept.of(folder / "mine"), records


def use_register(folder: Path, vector: np.ndarray[Any, Any]) -> None:
    """Open a register, ask it for all that it can tell, and search in it."""
    with Register.open(folder) as register:
        columns = register.columns
        rows = register.living_rows()[:4]
        register.problems()
        for record in register.figures(rows):
            register.design(record.design)
            register.picture(record.row)
        register.label_paths()
        if len(columns.alive):
            columns.find(columns.number(0))
        asked = query_from_bytes(fakes.drawing(1, side=48), "q.png", cut=False)
        for hit in search(register, [asked], embeddings=[vector], k=3)[0].hits:
            assert np.isfinite(hit.score), hit.score


def read_register(kept: Kept, name: str, vector: Any) -> Callable[[bytes, Path], None]:
    """Return what searches, verifies and mends a register of which one file is given."""

    def read(data: bytes, folder: Path) -> None:
        changed = {name: data}
        if name.startswith("graph.") and not name.endswith(".json"):
            told = json.loads(kept.files[f"{name}.json"])
            told |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            changed[f"{name}.json"] = sealed(told).encode()
        folder = kept.lay(folder, changed)
        way = zlib.crc32(data) % 8
        refused: EdgeRetrievalError | None = None
        try:
            use_register(folder, vector)
        except EdgeRetrievalError as error:
            refused = error
        if way == 0:
            with contextlib.suppress(EdgeRetrievalError):
                repair(folder)
            use_register(folder, vector)
            return
        if way < 4:
            faults_of(folder)
        if refused is not None:
            raise refused

    return read


def by_sql(data: bytes, rng: random.Random) -> bytes:
    """Change a database with statements; as it was where that fails."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"fuzz-{os.getpid()}.sqlite"
    path.write_bytes(data)
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            for _ in range(rng.choice((1, 1, 2))):
                with contextlib.suppress(sqlite3.Error):
                    database.executescript(rng.choice(SCHEMES))
            database.commit()
        return path.read_bytes()
    finally:
        path.unlink()


def sqlite_pages(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a database, or the head and the cells of one of its pages."""
    found = bytearray(data)
    size = int.from_bytes(data[16:18], "big") or 4096
    size = 65536 if size == 1 else size
    start = rng.randrange(len(data) // size) * size
    inside = rng.choice((*range(18, 100), 0)) if start == 0 else 0
    at = inside or start + (100 if start == 0 else 0) + rng.randrange(40)
    width = rng.choice((1, 2, 4))
    value = rng.choice((rng.choice(spoil.NUMBERS), rng.randrange(1 << 16))) % (1 << 8 * width)
    found[at : at + width] = value.to_bytes(width, "big")
    return bytes(found)


def columns_lying(data: bytes, rng: random.Random) -> bytes:
    """Change the header of columns.bin, or an array, with checksums that are right."""
    length = int(np.frombuffer(data, "<u4", 1, 8)[0])
    header, body = json.loads(data[16 : 16 + length]), bytearray(data[16 + length :])
    if rng.random() < 0.5:
        text = spoil.tree()(json.dumps(header).encode(), rng)
    else:
        section = rng.choice(header["sections"])
        start, end = section[2], section[2] + section[3]
        body[start:end] = spoil.blind(bytes(body[start:end]), rng)[: end - start].ljust(end - start)
        section[4] = zlib.crc32(body[start:end])
        text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 16) % 64)
    return data[:8] + np.array([len(text), zlib.crc32(text)], "<u4").tobytes() + text + bytes(body)


def pass_lying(data: bytes, rng: random.Random) -> bytes:
    """Change the head of a first pass, its checksum right."""
    magic, schema, size, _ = PRELUDE.unpack(data[: PRELUDE.size])
    head = data[PRELUDE.size : PRELUDE.size + size]
    (length,) = struct.unpack_from("<I", head)
    text, numbers = head[4 : 4 + length], head[4 + length :]
    if rng.random() < 0.6:
        text = spoil.tree()(text, rng)
    else:
        numbers = spoil.blind(numbers, rng)
    new = struct.pack("<I", len(text)) + text + numbers
    made = PRELUDE.pack(magic, schema, len(new), zlib.crc32(new)) + new
    return made + bytes(-len(made) % PAGE) + data[-(-(PRELUDE.size + size) // PAGE) * PAGE :]


def head_sealed(told: Any) -> Any:
    """Return a head with its checksum."""
    told.pop("check", None)
    return json.loads(Head(**told).text())


def by_check(told: Any) -> Any:
    """Return register.json with its checksum."""
    return told | {"check": _check(told)}


def by_digest(told: Any) -> Any:
    """Return a record, or watch.json, with its digest."""
    return told | {"sha256": digest_of(told)}


def watched(folder: Path) -> bytes:
    """Return watch.json of some new designs against the register."""
    from edge_retrieval.watch import Threshold, from_source, report_of, watch, write_kept

    with Register.open(folder) as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        threshold = Threshold(score=0.5)
        found = watch(from_source(fakes.designs(3), encoder), register, threshold)
        kept = read_kept(folder.parent / "watch", register)
        told, pictures = report_of(
            found, kept, portfolio=register, source="made", threshold=threshold
        )
        write_kept(
            folder.parent / "watch", told, pictures, after=kept, portfolio=register,
            page=lambda told, pictures: "<html></html>",
        )  # fmt: skip
    return (folder.parent / "watch" / "watch.json").read_bytes()


def graph_side(data: bytes, rng: random.Random) -> bytes:
    made = json.loads(spoil.tree()(data, rng))
    return sealed(made).encode() if isinstance(made, dict) else data
