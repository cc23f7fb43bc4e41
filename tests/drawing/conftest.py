"""Made pages: drawn by Pillow, so that a test knows where everything is."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw, ImageFont

PAGE = (2550, 3300)  # US Letter at 300 dpi

Encode = Callable[..., bytes]


class Paper:
    """A white page to draw figures and words on."""

    def __init__(self, size: tuple[int, int] = PAGE) -> None:
        self.image = Image.new("1", size, 1)
        self.pen = ImageDraw.Draw(self.image)

    def chair(self, x: int, y: int, size: int = 700, width: int = 4) -> tuple[int, int, int, int]:
        """Draw an upright thing with a distinct top, and return its box."""
        half = size // 2
        self.pen.rectangle((x, y + half, x + half, y + half + size // 8), outline=0, width=width)
        self.pen.line((x, y, x, y + size), fill=0, width=width)
        self.pen.line((x + half, y + half, x + half, y + size), fill=0, width=width)
        self.pen.line((x, y + size // 5, x + size // 6, y + size // 5), fill=0, width=width)
        self.pen.line((x + size // 6, y + size // 5, x + size // 6, y + half), fill=0, width=width)
        return x, y, x + half, y + size

    def word(self, text: str, x: int, y: int, height: int = 70, turn: int = 0) -> None:
        """Write a word whose corner is at x, y; `turn` degrees counter-clockwise."""
        font = ImageFont.load_default(size=height)
        left, top, right, bottom = font.getbbox(text)
        strip = Image.new("1", (int(right - left), int(bottom - top)), 1)
        ImageDraw.Draw(strip).text((-left, -top), text, fill=0, font=font)
        self.image.paste(strip.rotate(turn, expand=True), (x, y))

    def bytes(self, kind: str = "PNG", **options: object) -> bytes:
        return encoded(self.image, kind, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def paper() -> Callable[..., Paper]:
    return Paper


@pytest.fixture
def encode() -> Encode:
    return encoded
