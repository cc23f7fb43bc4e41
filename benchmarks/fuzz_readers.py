"""Every reader of the project, with small files to begin from and ways to spoil them.

Whatever the bytes are, a reader answers, raises an `EdgeRetrievalError`, or yields a `Problem`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sqlite3
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fuzz_mutators as spoil
import numpy as np
from PIL import Image, ImageDraw

from edge_retrieval.bundle import Bundle
from edge_retrieval.bundle_files import FileRecord, fingerprint_of
from edge_retrieval.calibration import digest_of
from edge_retrieval.drawing import Preprocessing, cut_sheet, fit, whole_sheet
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.evidence import Asked, make_record, read_record, record_text, replay
from edge_retrieval.index.graph_file import sealed
from edge_retrieval.index.pass_file import PAGE, PRELUDE
from edge_retrieval.preparing import prepare
from edge_retrieval.query import query_from_bytes
from edge_retrieval.register import Register
from edge_retrieval.register.manifest import _check
from edge_retrieval.register.repairing import faults_of, repair
from edge_retrieval.register.state import Head
from edge_retrieval.report import Report
from edge_retrieval.search import search
from edge_retrieval.sources import Box, Design, Problem, open_source
from edge_retrieval.split import read_split
from edge_retrieval.watch import read_kept
from tests import fakes

PINNED = fakes.PINNED
SHEETS = 3
"""Sheets of a design that are read and cut."""

GRANT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE us-patent-grant SYSTEM "us-patent-grant-v45-2014-04-03.dtd" [ ]>
<us-patent-grant lang="EN" file="USD0909824-20210209.XML"><us-bibliographic-data-grant>
<publication-reference><document-id><doc-number>D0909824</doc-number><date>20210209</date>
</document-id></publication-reference><application-reference appl-type="design"><document-id>
<date>20200630</date></document-id></application-reference><classification-locarno><edition>13
</edition><main-classification>0703</main-classification></classification-locarno>
<classification-national><main-classification>D 7654</main-classification>
</classification-national><invention-title>Sport <i>spoon</i> &amp; fork</invention-title><figures>
<number-of-drawing-sheets>1</number-of-drawing-sheets><number-of-figures>7</number-of-figures>
</figures><us-parties><us-applicants><us-applicant><addressbook><last-name>Tillman</last-name>
</addressbook></us-applicant></us-applicants></us-parties></us-bibliographic-data-grant>
<drawings><figure><img file="A-D00000.TIF"/><img file="A-D00001.TIF"/></figure></drawings>
<description><description-of-drawings><p>FIG. 1 is a perspective view; and,</p>
</description-of-drawings></description></us-patent-grant>
"""
YEAR = [
    {"patentID": "USD0909824-20210209", "subfigure_file": "1.png", "figure_file": "2.png",
     "object_title": "Spoon", "caption": "FIG. 1", "classification_locarno": "0703",
     "classification_national": "D 7654", "patentdate": "2021-02-09"},
    {"patentID": "USD0909824-20210209", "figure_file": "2.png", "x_figure": 1, "y_figure": 1,
     "w_figure": 40, "h_figure": 40.0, "caption": "FIG. 2"},
    {"patentID": "USD0909825-20210209", "figure_file": "2.png", "caption": None, "object": "Fork"},
]  # fmt: skip
TABLE = """file_name,design,box,locarno,title,published,applicant,caption,role
1.png,D1,1 1 40 40,07-03,"Spoon, ""long"" one",2021-02-09,Maker; Other,FIG. 1,
1.png,D1,2 2 60 60,07-03,"Spoon, ""long"" one",2021-02-09,Maker; Other,FIG. 2,
2.png,D2,,06-01,Chair,20210209,,,front
"""
SPLIT = 'seed = 2506\ngap = 100\ntrain = ["USD1", "USD2"]\nvalidation = ["USD3"]\ntest = []\n'
TREE: dict[str, str] = {
    "06/06-01/a/1.png": "png", "06/06-01/a/2.tif": "tif", "07/07-03/b/1.png": "png", "c.zip": "zip",
    "07/07-03/loop": "-> ..", "07/pipe.png": "fifo", "d/gone.png": "-> nowhere",
    "d/note.txt": "png",
    "d/empty.png": "empty", "d/f.tar.gz": "tgz", "e": "dir", "x/y/z/w/1.png": "png",
}  # fmt: skip
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


# Drawings


def page(side: int = 64) -> Image.Image:
    """Return a small drawing of two figures, ink on paper."""
    image = Image.new("L", (side, side + 9), 255)
    pen = ImageDraw.Draw(image)
    pen.rectangle((side // 8, side // 8, side // 2, side // 3), outline=0, width=2)
    pen.ellipse((side // 4, side // 2, side - 5, side - 4), outline=0)
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiffs() -> list[bytes]:
    """Return TIFFs of one bit and more, of one page and more, packed in several ways."""
    grey, bits = page(), page().convert("1")
    found = [saved(bits, "TIFF", compression=c) for c in ("group4", "group3", "packbits", "raw")]
    found += [
        saved(grey, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")
    ]
    found.append(saved(page(), "TIFF", save_all=True, append_images=[bits, grey]))
    found.append(saved(grey.convert("RGB"), "TIFF", compression="tiff_lzw"))
    return [*found, saved(grey.convert("F"), "TIFF"), saved(grey.convert("CMYK"), "TIFF")]


def pngs() -> list[bytes]:
    """Return PNGs of all colour types."""
    grey = page()
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    found = [saved(grey.convert(mode), "PNG") for mode in modes]
    return [*found, saved(grey.convert("1"), "PNG", transparency=0), saved(grey, "PNG", dpi=(9, 9))]


def pdf() -> bytes:
    """Return a PDF of two pages with lines and a picture of one bit."""
    old = time.gmtime(0)
    return saved(
        page(), "PDF", save_all=True, append_images=[page(40).convert("1")], creationDate=old,
        modDate=old,
    )  # fmt: skip


def plain_pdf() -> bytes:
    """Return a PDF with lines and a compressed stream, as text."""
    content = zlib.compress(b"q 2 w 20 20 m 180 20 l 100 150 l s 40 40 50 60 re f Q")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(content)
        + content
        + b"\nendstream",
    )
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 5\n0000000000 65535 f \n" + table
    end = b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(data)
    return data + head + end


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


# Sources


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


def read_tree(data: bytes, folder: Path) -> None:
    """Lay down a tree of files, links and pipes that JSON tells of, and read it."""
    tree = {"a": "png"}
    with contextlib.suppress(ValueError):
        told = json.loads(data)
        tree = told if isinstance(told, dict) else tree
    small = {
        "png": pngs()[0],
        "tif": tiffs()[0],
        "zip": packed(),
        "tgz": packed("gz"),
        "empty": b"",
    }
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


def packed(mode: str = "zip") -> bytes:
    """Return a small tree of drawings and a grant, as a ZIP or tar."""
    files = {
        "06/06-01/a/1.png": pngs()[0],
        "06/06-01/b/1.tif": tiffs()[0],
        "g/A.XML": GRANT.encode(),
        "g/A-D00001.TIF": tiffs()[0],
    }
    out = io.BytesIO()
    if mode == "zip":
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as new:
            new.writestr(zipfile.ZipInfo("c/1.png"), pngs()[1])
        with zipfile.ZipFile(out, "w") as new:
            for name, content in (*files.items(), ("inner.zip", inner.getvalue())):
                new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in (*files.items(), ("inner.zip", packed())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0) if mode == "gz" else out.getvalue()


def parquet() -> bytes | None:
    """Return the table as Parquet; None if pyarrow is not there."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        return None
    rows = [
        line.split(",") for line in TABLE.replace('"Spoon, ""long"" one"', "Spoon").splitlines()
    ]
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


# What is kept in folders


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
        with contextlib.suppress(EdgeRetrievalError):
            use_register(folder, vector)
        if way == 0:
            with contextlib.suppress(EdgeRetrievalError):
                repair(folder)
            use_register(folder, vector)
        elif way < 4:
            faults_of(folder)

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
            "graph.hnsw.json": spoil.mixed(json_file, _graph_side),
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


def _graph_side(data: bytes, rng: random.Random) -> bytes:
    made = json.loads(spoil.tree()(data, rng))
    return sealed(made).encode() if isinstance(made, dict) else data
