"""Made grants, archives and drawings, as small as they can be."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from edge_retrieval.sources import Design, Problem

GRANT = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE us-patent-grant SYSTEM "us-patent-grant-v45-2014-04-03.dtd" [ ]>
<us-patent-grant lang="EN" file="{number}-20210209.XML" country="US" date-publ="20210209">
<us-bibliographic-data-grant>
<publication-reference><document-id><country>US</country><doc-number>{doc}</doc-number>
<kind>S1</kind><date>20210209</date></document-id></publication-reference>
<application-reference appl-type="{kind}"><document-id><doc-number>29740061</doc-number>
<date>{filed}</date></document-id></application-reference>
{locarno}
<classification-national><country>US</country><main-classification>{uspc}</main-classification>
<further-classification> D74012</further-classification></classification-national>
<invention-title id="d2e53">Sport <i>spoon</i> &amp; fork</invention-title>
<us-references-cited><us-citation><classification-national><main-classification>D21406
</main-classification></classification-national></us-citation></us-references-cited>
<figures><number-of-drawing-sheets>{stated}</number-of-drawing-sheets>
<number-of-figures>7</number-of-figures></figures>
<us-parties><us-applicants><us-applicant><addressbook><last-name>Tillman</last-name>
<first-name>Chris</first-name></addressbook></us-applicant></us-applicants></us-parties>
<assignees><assignee><addressbook><orgname>Spoons &#x26; Co</orgname></addressbook></assignee>
</assignees>
</us-bibliographic-data-grant>
<drawings id="DRAWINGS">{images}</drawings>
<description id="description"><description-of-drawings>
<p><figref idref="DRAWINGS">FIG. 1</figref> is a perspective view; and,</p>
<p><figref idref="DRAWINGS">FIG. 2</figref> is a top view thereof.</p>
<p>The broken lines form no part of the claimed design.</p>
</description-of-drawings></description>
</us-patent-grant>
"""
LOCARNO = """<classification-locarno><edition>13</edition>
<main-classification>0703</main-classification></classification-locarno>"""


def tiff() -> bytes:
    """Return a small 1-bit TIFF as the office compresses them."""
    image = Image.new("1", (64, 48), 1)
    ImageDraw.Draw(image).rectangle((8, 8, 40, 30), outline=0)
    file = io.BytesIO()
    image.save(file, "TIFF", compression="group4")
    return file.getvalue()


def png() -> bytes:
    """Return a small grey PNG."""
    file = io.BytesIO()
    Image.new("L", (16, 16), 255).save(file, "PNG")
    return file.getvalue()


def grant(number: str = "USD0909824", *, sheets: int = 2, **changes: str) -> dict[str, bytes]:
    """Return the files of one grant by name: XML, front page and `sheets` drawing sheets."""
    names = [f"{number}-20210209-D{page:05}.TIF" for page in range(sheets + 1)]
    fields = {
        "number": number,
        "doc": number.removeprefix("US"),
        "kind": "design",
        "filed": "20200630",
        "locarno": LOCARNO,
        "uspc": "D 7654",
        "stated": str(sheets),
        "images": "".join(f'<figure><img file="{name}"/></figure>' for name in names),
    }
    xml = GRANT.format(**(fields | changes)).encode()
    return {f"{number}-20210209.XML": xml} | {name: tiff() for name in names}


def zipped(files: Mapping[str, bytes], folder: str = "") -> bytes:
    """Return a ZIP of files, each below `folder`."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return data.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """Return a tar of files; `mode` "w:gz" compresses it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def lay(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


class Made:
    """What the functions above make, for tests that cannot import this file."""

    grant = staticmethod(grant)
    tiff = staticmethod(tiff)
    png = staticmethod(png)
    zipped = staticmethod(zipped)
    tarred = staticmethod(tarred)
    lay = staticmethod(lay)


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def split() -> Callable[[Iterable[Design | Problem]], tuple[list[Design], list[Problem]]]:
    """Part a stream into its designs and its problems."""

    def part(items: Iterable[Design | Problem]) -> tuple[list[Design], list[Problem]]:
        taken = list(items)
        designs = [item for item in taken if isinstance(item, Design)]
        return designs, [item for item in taken if isinstance(item, Problem)]

    return part
