"""Ways to spoil a file: blindly, and knowing what it is made of.

A mutator takes bytes and a generator of random numbers and returns other bytes; the same numbers
give the same bytes. Those that know a format keep the rest of it right (checksums, lengths), so
that what is wrong gets past the first look of a reader.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

LARGEST = 1 << 18
"""Bytes of what is made, at most: larger files only cost time."""

NUMBERS = (
    0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 1023, 4095, 32767, 32768, 65535, 65536, 99999,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x100000000,
    0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF,
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "\n", "\r\n\t", "-1", "1e999", "-0.0", "NaN", "9" * 40, "9" * 5000,
    "../../etc/passwd", "/etc/passwd", "C:\\x", "a" * 300, "\x1b[2J\x1b]0;x\x07", "\u202egnp.exe",
    "\U0001f980", "\ud800",
    "\x7f\x80\x9f", "%s%n{0}", "'; DROP TABLE designs; --", "\u0661\u0662", "[" * 300,
    "x\u0000y.png",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.5, 1e308, float("nan"), float("inf"), 1 << 31, 1 << 63,
    -(1 << 63), 10**30, 10**400, [], {}, [[]], {"": None}, [None], ["x"], [0], *TEXTS,
)  # fmt: skip


def blind(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert, move and overwrite a few places."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        size = len(found)
        if size < 2:
            found += rng.randbytes(rng.choice((1, 9)))
            continue
        at = rng.randrange(size)
        end = min(size, at + rng.choice((1, 2, 4, 16, 64, 512)))
        match rng.randrange(9):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at] = rng.randrange(256)
            case 2:
                del found[at:]  # cut short
            case 3:
                del found[at:end]
            case 4:
                found[at:at] = found[at:end] * rng.choice((1, 2, 16))
            case 5:
                found[at:end] = rng.randbytes(end - at)
            case 6:
                found[at:end] = bytes([rng.choice((0, 255, 32))]) * (end - at)
            case 7:
                _number(found, at, rng)
            case 8:
                piece, to = bytes(found[at:end]), rng.randrange(size)
                found[to : to + len(piece)] = piece
    return bytes(found[:LARGEST])


def _number(found: bytearray, at: int, rng: random.Random) -> None:
    """Overwrite what may be a length or an offset, or change it by little."""
    width = rng.choice((1, 2, 4, 8))
    at = at // width * width if rng.random() < 0.5 else at
    order = rng.choice(("little", "big"))
    old = int.from_bytes(found[at : at + width], order)  # type: ignore[arg-type]
    new = rng.choice((rng.choice(NUMBERS), old + 1, old - 1, old * 2, len(found), old + len(found)))
    found[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def spliced(others: list[bytes]) -> Mutator:
    """Return a mutator that puts the beginning of a file before the end of another."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        other = rng.choice(others)
        first, second = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
        return (data[:first] + other[second:])[:LARGEST]

    return mutate


def png(data: bytes, rng: random.Random) -> bytes:
    """Change chunks of a PNG, their checksums right; sometimes what the pixels unpack to."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    if not chunks:
        return blind(data, rng)
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    match rng.randrange(8):
        case 0:
            del chunks[place]
        case 1:
            chunks.insert(rng.randrange(len(chunks)), [kind, body])
        case 2:
            rng.shuffle(chunks)
        case 3 | 4:
            header = bytearray(chunks[0][1].ljust(13, b"\0"))
            field = rng.randrange(7)
            if field < 2:
                wide = rng.choice((0, 1, 7, 8, 9, 63, 65, 5000, 12_000, 65_535, 1 << 20, 1 << 31))
                struct.pack_into(">I", header, 4 * field, wide)
            else:
                header[6 + field] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
            chunks[0][1] = bytes(header)
        case 5:
            kinds = (
                b"tRNS",
                b"PLTE",
                b"eXIf",
                b"acTL",
                b"fcTL",
                b"iCCP",
                b"zTXt",
                b"gAMA",
                b"sBIT",
            )
            body = rng.choice((b"", body[:40], rng.randbytes(30), b"a\0\0" + zlib.compress(body)))
            chunks.insert(1, [rng.choice(kinds), body])
        case 6:
            packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
            try:
                raw = zlib.decompress(packed)
            except zlib.error:
                return blind(data, rng)
            new = zlib.compress(blind(raw, rng), rng.choice((0, 1, 9)))
            chunks = [one for one in chunks if one[0] != b"IDAT"]
            chunks.insert(-1, [b"IDAT", new])
        case 7:
            chunks[place][1] = blind(body, rng)
    made = data[:8]
    for kind, body in chunks:
        made += (
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        )
    return made[:LARGEST]


def tiff(data: bytes, rng: random.Random) -> bytes:
    """Change entries of the first directory of a TIFF: tag, type, count, value, the next one."""
    found = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        for _ in range(rng.choice((1, 1, 2, 4))):
            entry = at + 2 + 12 * rng.randrange(count)
            match rng.randrange(7):
                case 0:
                    tags = (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 292, 317, 322,
                            330, 338, 339, 347, 34675, 34665, 700)  # fmt: skip
                    struct.pack_into(order + "H", found, entry, rng.choice(tags))
                case 1:
                    struct.pack_into(order + "H", found, entry + 2, rng.randrange(20))
                case 2:
                    struct.pack_into(order + "I", found, entry + 4, rng.choice(NUMBERS) % (1 << 32))
                case 3 | 4:
                    value = rng.choice((*NUMBERS, 32773, 5, 3, 6, 34712, 50000, 8, len(data) - 1))
                    struct.pack_into(order + "I", found, entry + 8, value % (1 << 32))
                case 5:  # where the next page is: here, again and again, or nowhere
                    after = rng.choice((at, 8, len(data) - 4, 0xFFFFFFF0))
                    struct.pack_into(order + "I", found, at + 2 + 12 * count, after)
                case 6:
                    struct.pack_into(order + "H", found, at, rng.choice((0, 1, count + 1, 65535)))
    except (struct.error, ValueError):
        return blind(data, rng)
    return bytes(found)


def marked(data: bytes, rng: random.Random) -> bytes:
    """Change a length or a header's number behind a mark: JPEG, GIF, BMP, RIFF."""
    found = bytearray(data)
    marks = [m.start() for m in re.finditer(rb"\xff[\xc0-\xfe]|\x2c|\x21\xf9|VP8.|RIFF|BM", data)]
    at = rng.choice(marks or [0]) + rng.choice((1, 2, 3, 4, 5, 7, 8, 9, 18, 22))
    width = rng.choice((1, 2, 4))
    value = rng.choice(NUMBERS) % (1 << 8 * width)
    found[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))  # type: ignore[arg-type]
    return bytes(found)


def words(*more: bytes) -> Mutator:
    """Return a mutator of what people can read: numbers, names, lines; PDF, XML, CSV, TOML.

    Args:
        more: Pieces that mean something in this format.
    """

    def mutate(data: bytes, rng: random.Random) -> bytes:
        pieces = re.findall(rb"\d+|\w+|\s+|[^\w\s]", data[:LARGEST])
        for _ in range(rng.choice((1, 1, 2, 4, 12))):
            if not pieces:
                return data
            at = rng.randrange(len(pieces))
            match rng.randrange(7):
                case 0:
                    pieces[at] = rng.choice(more) if more else b""
                case 1:
                    pieces[at] = rng.choice(TEXTS).encode(errors="surrogatepass")
                case 2:
                    numbers = [i for i, piece in enumerate(pieces) if piece.isdigit()]
                    if numbers:
                        pieces[rng.choice(numbers)] = str(rng.choice(NUMBERS)).encode()
                case 3:
                    del pieces[at : at + rng.choice((1, 3, 20))]
                case 4:
                    pieces[at:at] = pieces[at : at + rng.choice((1, 9))] * rng.choice((1, 2, 200))
                case 5:
                    other = rng.randrange(len(pieces))
                    pieces[at], pieces[other] = pieces[other], pieces[at]
                case 6:
                    pieces.insert(at, rng.choice(more) if more else rng.randbytes(3))
        return b"".join(pieces)[:LARGEST]

    return mutate


ENTITIES = (
    b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
)
pdf = words(
    b"obj", b"endobj", b"<<", b">>", b"/Kids", b"/Parent", b"/Type /Page", b"stream", b"-1",
    b"1 0 R", b"2 0 R", b"3 0 R", b"/Filter /FlateDecode", b"/MediaBox [0 0 1e9 1e9]", b"(", b"[",
    b"/Length 99999999", b"/Prev 9", b"/Encrypt 1 0 R", b"q", b"cm", b"/JBIG2Decode",
)  # fmt: skip
xml = words(
    ENTITIES, b"&b;", b"&c;", b"&#x0;", b"&#1114112;", b"<!--", b"<![CDATA[", b"]]>", b"<a " * 40,
    b"<p>" * 500, b"</p>", b'<?xml version="1.0" encoding="utf-7"?>', b"&mdash;", b"<img file=",
    b"us-patent-grant", b'file="../../x.TIF"', b"\xff\xfe",
)  # fmt: skip
csv = words(
    b",", b'"', b"\n", b";", b"\t", b"../x.png", b"1.png", b"box", b"file_name", b"99-99",
    b"0 0 9 9", b"99999999999999999999 0 9 9", b"\xef\xbb\xbf", b"\0", b"design",
)  # fmt: skip
toml = words(
    b"[" * 3000, b"]", b"{", b'"', b"=", b"\n", b"train", b"seed", b"1979-05-27T07:32:00Z", b"inf",
    b"a.b.c = 1\n", b"'''", b"\xff", b"\\ud800", b"backbone", b"steps", b"[[x]]\n",
)  # fmt: skip
json_words = words(
    b"[" * 5000, b"{", b"}", b"]", b",", b":", b"null", b'"', b"NaN", b"1e999", b"9" * 5000,
    b"\\ud800", b'{"a":', b"\n", b"true", b"-", b"\xff",
)  # fmt: skip


def tree(seal: Callable[[Any], Any] = lambda told: told) -> Mutator:
    """Return a mutator of the values of a JSON document.

    Args:
        seal: Makes right again what vouches for the rest: a checksum.
    """

    def mutate(data: bytes, rng: random.Random) -> bytes:
        told = json.loads(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            told = _changed(told, rng)
        # Of what is left nothing may be to be sealed.
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError, IndexError):
            told = seal(told)
        return json.dumps(told).encode()

    return mutate


def _changed(told: Any, rng: random.Random) -> Any:
    places = list(_places(told))
    if not places:
        return rng.choice(VALUES)
    within, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del within[key]
        case 1:
            other, name = rng.choice(places)
            within[key] = json.loads(json.dumps(other[name]))
        case 2:
            within[key] = [within[key]]
        case 3 if isinstance(within, list):
            within.extend([within[key]] * rng.choice((1, 30)))
        case 4 if isinstance(within, dict):
            within[rng.choice(TEXTS)] = within[key]
        case 5 if isinstance(within[key], int | float):
            within[key] = rng.choice((-within[key], within[key] + 1, *NUMBERS))
        case _:
            within[key] = rng.choice(VALUES)
    return told


def _places(told: Any) -> Any:
    """Yield every list or object, with each of its keys."""
    inner = list(told.items()) if isinstance(told, dict) else []
    inner = list(enumerate(told)) if isinstance(told, list) else inner
    for key, value in inner[:60]:
        yield told, key
        yield from _places(value)


def archive_zip(inside: Mutator) -> Mutator:
    """Return a mutator of ZIPs: what is in them, names, and what their headers say."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            found = bytearray(data)
            heads = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data)]
            at = rng.choice(heads) + rng.randrange(4, 46)
            width = rng.choice((2, 4))
            value = rng.choice((*NUMBERS, 8, 9, 12, 14, 93)) % (1 << 8 * width)
            found[at : at + width] = value.to_bytes(width, "little")
            return bytes(found)
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            members = [(info.filename, old.read(info)) for info in old.infolist()]
            for name, content in _members(members, inside, rng):
                info = zipfile.ZipInfo(name.encode(errors="replace").decode().replace("\0", "0"))
                info.external_attr = rng.choice((0, 0, 0, 0o120777 << 16, 0o010644 << 16))
                info.compress_type = rng.choice((0, 8, 8))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of two members of one name
                    new.writestr(info, content)
        return out.getvalue()[:LARGEST]

    return mutate


def archive_tar(inside: Mutator) -> Mutator:
    """Return a mutator of tars: what is in them, names, kinds, sizes; checksums right."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as old:
            members = [(m.name, old.extractfile(m).read()) for m in old if m.isreg()]  # type: ignore[union-attr]
        kind = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
        for name, content in _members(members, inside, rng):
            info = tarfile.TarInfo(name.encode(errors="replace").decode().replace("\0", "0"))
            info.size = len(content)
            if rng.random() < 0.3:
                info.type = rng.choice(
                    (b"0", b"1", b"2", b"3", b"4", b"6", b"7", b"S", b"L", b"x", b"g")
                )
                info.linkname = rng.choice(("/etc/passwd", "..", name[:90]))
            if rng.random() < 0.2:
                info.size = abs(rng.choice(NUMBERS)) % (1 << 33)
            try:
                head = info.tobuf(kind, "utf-8", "surrogateescape")
            except ValueError:
                continue
            out.write(head + content + bytes(-len(content) % 512))
        out.write(bytes(rng.choice((0, 512, 1024, 10240))))
        return out.getvalue()[:LARGEST]

    return mutate


def _members(members: list[tuple[str, bytes]], inside: Mutator, rng: random.Random) -> Any:
    """Yield members, some changed, renamed, repeated or gone."""
    for name, content in members:
        match rng.randrange(12):
            case 0:
                continue
            case 1:
                yield rng.choice(TEXTS) + name[-8:], content
            case 2 | 3 | 4:
                yield name, inside(content, rng)
            case 5:
                yield name, content
                yield name, content[: len(content) // 2]
            case 6:
                yield "/".join(["a"] * 40) + "/../" + name, content
            case _:
                yield name, content


def gzipped(inner: Mutator) -> Mutator:
    """Return a mutator of what a gzip holds, packed again."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        packer = zlib.compressobj(rng.choice((0, 6)), zlib.DEFLATED, 31)
        made = inner(zlib.decompress(data, 31), rng)
        whole = packer.compress(made) + packer.flush()
        return whole + rng.choice((b"", b"", bytes(9), whole, b"rest"))

    return mutate


def mixed(*mutators: Mutator) -> Mutator:
    """Return a mutator that takes one of these, and now and then another after it."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        made = rng.choice(mutators)(data, rng)
        return made if rng.random() < 0.8 else blind(made, rng)

    return mutate
