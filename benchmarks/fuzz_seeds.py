"""Small files of every kind, made here, that are read well before they are spoilt."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile
import zlib
from typing import Any

from PIL import Image, ImageDraw

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
