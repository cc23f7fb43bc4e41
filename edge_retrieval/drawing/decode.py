"""Bytes of a drawing -> pages of dark ink on white paper, in memory.

Whatever a file is (1-bit fax, palette, alpha, 16-bit, a grey scan, white ink on black) a `Page` is
one kind of thing, so the code that cuts and fits knows one kind only.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edge_retrieval.arrays import Pixels
from edge_retrieval.drawing import png
from edge_retrieval.drawing.bitmap import Bitmap
from edge_retrieval.drawing.greymap import Greymap
from edge_retrieval.drawing.raster import STRIP, Frame
from edge_retrieval.drawing.tiff import count_pages
from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import PAGES_TOGETHER, current, flag, raising

Counts = NDArray[np.int64]

DRAFT_SIDE = 1700
"""A JPEG is unpacked at 1/2, 1/4 or 1/8 as long as both sides keep this many pixels: a master of
512 px then still comes from more than twice its size."""

TAKEN = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""In the order in which Pillow tries them: what it has loaded already comes first."""
FORMATS = "PNG, TIFF, JPEG, WebP, BMP, GIF or PDF"
INK_LEVEL = 128  # a pixel of a normalised page that is darker is ink beyond doubt


@dataclass(frozen=True)
class Page:
    """One page: ink dark, paper white.

    Attributes:
        raster: What was unpacked, perhaps at a reduced scale: a `Bitmap` if every pixel is black or
            white, whatever the file keeps it in, else a `Greymap`.
        scale: Pixels of the sheet for one pixel of `raster`; 1.0 unless a JPEG was drafted.
        size: (width, height) of the sheet in full-resolution pixels.
    """

    raster: Bitmap | Greymap
    scale: float
    size: tuple[int, int]


def read_pages(data: bytes, *, where: str) -> Iterator[Page]:
    """Yield the pages of a drawing, in order.

    Args:
        data: Bytes of an image file or of a PDF (rendered at 300 dpi).
        where: Where a person finds it, for messages.

    Raises:
        DrawingError: No bytes, not an image, truncated, or beyond the limits that hold.
        MissingExtraError: A PDF without the extra 'pdf'.
    """
    if not data:
        raise DrawingError(f"{where}: the file is empty (0 bytes)", hint="fetch the file again")
    if b"%PDF-" in data[:1024]:
        yield from _pdf_pages(data, where)
        return
    yield from _frames(data, where)


def _frames(data: bytes, where: str) -> Iterator[Page]:
    image = _open(data, where)
    most = current().pages
    count = count_pages(data, most) if image.format == "TIFF" else 1
    if count > most:
        raise _too_many_pages(where)
    together = 0
    for number in range(count):
        place = where if count == 1 else f"{where} (page {number + 1})"
        page = _png_page(image, data) or _unpack(image, number, place)
        together = _still_few(together + page.size[0] * page.size[1], where)
        yield page


def _open(data: bytes, where: str) -> Image.Image:
    if Image.MAX_IMAGE_PIXELS is not None and current().pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = current().pixels  # Pillow's own, which must not be the lower one
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images at its own limit; ours is checked here.
            warnings.simplefilter("ignore")
            # Never any format that Pillow knows: for some it starts other programs.
            image = Image.open(io.BytesIO(data), formats=TAKEN)
    except Image.DecompressionBombError as error:
        raise _too_large(where) from error
    except UnidentifiedImageError as error:
        raise DrawingError(
            f"{where}: not an image that can be read", hint=f"use {FORMATS}"
        ) from error
    except Exception as error:  # a damaged header makes Pillow raise almost anything
        raise _unreadable(where, error) from error
    return image


def _unpack(image: Image.Image, number: int, where: str) -> Page:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if number:
                image.seek(number)
            width, height = image.size
            if width * height > current().pixels:
                raise _too_large(f"{where}: {width} x {height} pixels")
            if image.format == "JPEG":
                image.draft("L", (DRAFT_SIDE, DRAFT_SIDE))
            image.load()
            scale = width / image.width
            upside = image.size
            ImageOps.exif_transpose(image, in_place=True)
            size = (width, height) if image.size == upside else (height, width)
            raster = _raster(image)
    except DrawingError:
        raise
    except Exception as error:
        raise _unreadable(where, error) from error
    return Page(raster, scale, size)


def _png_page(image: Image.Image, data: bytes) -> Page | None:
    """Unpack a PNG in a way that takes less time or memory; None if there is none for it."""
    width, height = image.size
    if image.format != "PNG" or width * height > current().pixels:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bits = png.packed(data)
            grey = png.grey_of_colour(data) if bits is None else None
    except Exception:  # whatever it is, it is found again and told in the usual way
        return None
    if bits is not None and bits.shape == (height, (width + 7) // 8):
        raster = Bitmap.of_packed(bits, width).as_ink_on_paper()
        return Page(raster, 1.0, (width, height))
    if grey is None or grey.size != (width, height):  # a second header: told in the usual way
        return None
    return Page(_raster(grey), 1.0, (width, height))


def _too_large(what: str) -> DrawingError:
    return DrawingError(
        f"{what}: pixels are {current().told('pixels')}",
        hint=f"save it at a lower resolution; {raising('pixels')}",
    )


def _still_few(pixels: int, where: str) -> int:
    """Return the pixels of pages together; refuse a file in which they are too many."""
    most = PAGES_TOGETHER * current().pixels
    if pixels > most:
        raise DrawingError(
            f"{where}: its pages together have more than {most:,} pixels ({flag('pixels')})",
            hint=f"split the file into parts; {raising('pixels')}",
        )
    return pixels


def _too_many_pages(where: str) -> DrawingError:
    return DrawingError(
        f"{where}: pages are {current().told('pages')}",
        hint=f"split the file into parts; {raising('pages')}",
    )


def _unreadable(where: str, error: Exception) -> DrawingError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DrawingError(
        f"{where}: cannot be unpacked, truncated or damaged ({reason[:120]})",
        hint="fetch the file again, or open it in an image viewer and save it anew",
    )


def _pdf_pages(data: bytes, where: str) -> Iterator[Page]:
    from edge_retrieval.drawing.pdf import pages_of  # what starts processes loads slowly

    together = 0
    for grey in pages_of(data, where=where):
        together = _still_few(together + grey.width * grey.height, where)
        yield Page(_raster(grey), 1.0, grey.size)


def _raster(image: Image.Image) -> Bitmap | Greymap:
    """Make paper white and ink dark: invert white on black, lift a grey scan's paper to 255."""
    grey = _grey(image)
    bitmap = Bitmap.of(grey)
    if bitmap is not None:
        return bitmap.as_ink_on_paper()
    counts = np.asarray(grey.histogram(), dtype=np.int64)
    values = np.arange(256)
    if _is_dark(grey, counts):
        counts = counts[::-1]
        values = values[::-1]
    black, white = _levels(counts)
    span = max(white - black, 1)
    lifted = [min(255, max(0, round((int(v) - black) * 255 / span))) for v in values]
    return Greymap(grey, None if lifted == list(range(256)) else tuple(lifted))


def _grey(image: Image.Image) -> Image.Image:
    """Return any mode as "L" or "1", transparent parts as paper."""
    if image.mode in ("1", "L"):
        return image if "transparency" not in image.info else _over_paper(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_to_grey(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _over_paper(image)
    if image.mode == "P":
        return image.convert("RGB").convert("L")
    return image.convert("L")


def _over_paper(image: Image.Image) -> Image.Image:
    """Lay an image with alpha over white, or over black if all that shows is nearly white."""
    layers = [_grey_and_alpha(image.crop(box)) for box in _strips(image)]
    seen = [np.asarray(grey)[np.asarray(alpha) > 127] for grey, alpha in layers]
    size = sum(part.size for part in seen)
    light = size and min(part.min() for part in seen if part.size) > 200
    paper = 0 if light and size < 0.9 * image.width * image.height else 255
    over = Image.new("L", image.size, paper)
    for box, (grey, alpha) in zip(_strips(image), layers, strict=True):
        over.paste(grey, box[:2], alpha)
    return over


def _grey_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    layer = image.convert("RGBA")
    return layer.convert("RGB").convert("L"), layer.getchannel("A")


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """Return 16-bit, 32-bit and float greys as 8-bit, scaled by what the mode can hold."""
    full = 65535.0
    if not image.mode.startswith("I;16"):
        top = max(float(_finite(image.crop(box)).max(initial=0.0)) for box in _strips(image))
        full = next((step for step in (1.0, 255.0, 65535.0, 4294967295.0) if top <= step), top)
    grey = Image.new("L", image.size)
    for box in _strips(image):
        scaled: Pixels = np.clip(_finite(image.crop(box)) * (255.0 / full), 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), box[:2])
    return grey


def _finite(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)


def _strips(image: Image.Image) -> Iterator[Frame]:
    """Yield the boxes of strips of a large image, so that what is made of it stays small."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)


def _is_dark(grey: Image.Image, counts: Counts) -> bool:
    """Whether this is light ink on dark paper: most of the page and nearly all its border."""
    if counts[:INK_LEVEL].sum() <= 0.5 * counts.sum():
        return False
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return bool((border < INK_LEVEL).mean() > 0.8)


def _levels(counts: Counts) -> tuple[int, int]:
    """Return the grey values that become 0 and 255.

    Paper is the most frequent light value, and its noise on the dark side is taken to be as wide as
    on the light side. Ink is stretched to black only if it is faint, so half-tones are kept.
    """
    total = int(counts.sum())
    smooth = np.convolve(counts, np.ones(5), mode="same")
    paper = INK_LEVEL + int(smooth[INK_LEVEL:].argmax())
    below = np.cumsum(counts)
    if counts[max(paper - 8, 0) :].sum() < 0.2 * total:  # a photograph without paper
        paper = int(np.searchsorted(below, 0.99 * total))
    noise = int(np.searchsorted(below, 0.995 * total)) - paper
    white = max(paper - max(2, min(2 * noise, 40)), 1)
    black = int(np.searchsorted(below, 0.0005 * total))
    return (min(black, 110) if black < white - 24 else 0), white
