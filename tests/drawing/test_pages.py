"""A page gives the same pictures whatever file it is kept in, and never needs much memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from edge_retrieval.drawing import MASTER_SIDE, Preprocessing, cut_sheet, fit, png, whole_sheet
from edge_retrieval.drawing.bitmap import Bitmap
from edge_retrieval.drawing.decode import read_pages
from edge_retrieval.drawing.greymap import Greymap
from edge_retrieval.drawing.raster import means
from edge_retrieval.errors import DrawingError

RAW = Preprocessing(size=128, mean=0.0, std=1.0)


@pytest.fixture
def page(paper):
    """Two figures, their captions and a header on a page at 300 dpi."""
    page = paper()
    page.chair(300, 500, size=1500, width=5)
    page.chair(1450, 560, size=1400, width=3)
    page.word("FIG. 1", 500, 2200)
    page.word("FIG. 2", 1600, 2200)
    return page.image


def in_16_levels(image: Image.Image) -> Image.Image:
    levels = Image.fromarray(np.asarray(image.convert("L")) // 17)
    levels.putpalette([value for level in range(16) for value in (level * 17,) * 3])
    return levels


def in_a_palette_of_two(image: Image.Image) -> Image.Image:
    places = Image.fromarray(np.asarray(image).astype(np.uint8))
    places.putpalette([0, 0, 0, 255, 255, 255])
    return places


SAME = {
    "1-bit PNG": lambda image, encode: encode(image),
    "fax": lambda image, encode: encode(image, "TIFF", compression="group4"),
    "raw 1-bit TIFF": lambda image, encode: encode(image, "TIFF"),
    "1-bit BMP": lambda image, encode: encode(image, "BMP"),
    "8-bit PNG": lambda image, encode: encode(image.convert("L")),
    "16 levels": lambda image, encode: encode(in_16_levels(image), bits=4),
    "palette of two": lambda image, encode: encode(in_a_palette_of_two(image), bits=1),
    "RGB": lambda image, encode: encode(image.convert("RGB")),
    "white on black": lambda image, encode: encode(
        ImageOps.invert(image.convert("L")).convert("1")
    ),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("width", [2550, 2549, 2543])
def test_a_page_of_black_and_white_gives_the_same_bits_whatever_the_file(page, encode, kind, width):
    page = page.crop((0, 0, width, page.height))
    wanted = cut_sheet(SAME["fax"](page, encode), where="fax")
    figures = cut_sheet(SAME[kind](page, encode), where=kind)
    assert len(figures) == len(wanted) == 2
    for figure, other in zip(figures, wanted, strict=True):
        assert figure.box == other.box
        np.testing.assert_array_equal(figure.pixels, other.pixels)


def test_a_page_with_one_grey_pixel_gives_nearly_the_same_picture(page, encode):
    """Nearly: rounded in other places. A bitmap is reduced in whole numbers, greys in floats."""
    grey = page.convert("L")
    grey.putpixel((5, 5), 250)
    figures = cut_sheet(encode(grey), where="grey")
    wanted = cut_sheet(encode(page), where="1-bit")
    assert [figure.box for figure in figures] == [figure.box for figure in wanted]
    for figure, other in zip(figures, wanted, strict=True):
        assert np.abs(figure.pixels.astype(int) - other.pixels).max() <= 24  # the faintest ink
        assert np.abs(fit(figure, RAW) - fit(other, RAW)).max() <= 4 / 255


@pytest.mark.parametrize("kind", ["smooth", "scanned", "JPEG"])
def test_a_scan_of_a_page_gives_a_similar_picture(page, encode, kind):
    grey = page.convert("L")
    if kind == "smooth":
        data = encode(grey.resize((1700, 2200), Image.Resampling.BICUBIC))
    elif kind == "scanned":
        noise = np.random.default_rng(0).normal(20, 3, grey.size[::-1])
        values = np.clip(np.asarray(grey) * 0.85 + noise, 0, 255).astype(np.uint8)
        data = encode(Image.fromarray(values))
    else:
        data = encode(grey, "JPEG", quality=90)
    for figure, other in zip(
        cut_sheet(data, where="a"), cut_sheet(encode(page), where="b"), strict=True
    ):
        a, b = 1 - fit(figure, RAW).ravel(), 1 - fit(other, RAW).ravel()
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_cells_of_a_bitmap_hold_ink_where_a_pixel_does_but_not_a_lone_speck(
    height, width, step, seed
):
    rng = np.random.default_rng(seed)
    pixels = rng.random((height, width)) < rng.choice([0.01, 0.1, 0.6])
    bitmap = Bitmap.of(Image.fromarray(~pixels))
    assert bitmap is not None
    down, across = -(-height // step), -(-width // step)
    counts = np.zeros((down, across), dtype=int)
    for y, x in zip(*np.nonzero(pixels), strict=True):
        counts[y // step, x // step] += 1
    wanted = counts > 0
    if step >= 4:
        for y, x in zip(*np.nonzero(counts), strict=True):
            around = counts[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if counts[y, x] <= 3 and (around > 0).sum() == 1:
                wanted[y, x] = False
        wanted = wanted if wanted.any() else counts > 0
    np.testing.assert_array_equal(bitmap.ink(step), wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.data())
def test_a_window_and_a_figure_of_a_bitmap_are_its_pixels(height, width, seed, data):
    pixels = np.random.default_rng(seed).random((height, width)) < 0.1
    bitmap = Bitmap.of(Image.fromarray(~pixels))
    assert bitmap is not None
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    step = data.draw(st.integers(1, 9))
    greys = np.where(pixels, 0, 255)
    window = np.asarray(bitmap.window((x0, y0, x1, y1)))
    np.testing.assert_array_equal(window, greys[y0:y1, x0:x1])
    foreign = np.random.default_rng(seed + 1).random((-(-height // step), -(-width // step))) < 0.2
    own = pixels & ~np.kron(foreign, np.ones((step, step), bool))[:height, :width]
    found = bitmap.figure((x0, y0, x1, y1), foreign, step)
    seen = Greymap(Image.fromarray(greys.astype(np.uint8))).figure((x0, y0, x1, y1), foreign, step)
    assert (found is None) == (seen is None) == (not own[y0:y1, x0:x1].any())
    if found is not None and seen is not None:
        (left, top, right, bottom), master = found
        assert (left, top, right, bottom) == seen[0]
        np.testing.assert_array_equal(master, np.where(own, 0, 255)[top:bottom, left:right])
        np.testing.assert_array_equal(master, seen[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_means_are_those_of_plain_loops_over_borders_rounded_to_pixels(down, across, ratio, seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(down * ratio, down * ratio + down + 1)), across * ratio + 1
    values = rng.integers(0, 2, (height, width)).astype(np.uint8)
    found = means(lambda top, bottom: values[top:bottom], (width, height), (across, down))
    rows = [(2 * height * i + down) // (2 * down) for i in range(down + 1)]
    columns = [(2 * width * i + across) // (2 * across) for i in range(across + 1)]
    for y in range(down):
        for x in range(across):
            block = values[rows[y] : rows[y + 1], columns[x] : columns[x + 1]]
            assert abs(float(found[y, x]) - block.mean()) < 1e-5


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("grey", [False, True])
def test_a_thin_stroke_of_a_large_sheet_is_clearly_visible_at_128_pixels(encode, width, grey):
    image = Image.new("L", (2500, 2500), 255)
    pen = ImageDraw.Draw(image)
    pen.line((300, 0, 1700, 2499), fill=0, width=width)
    pen.line((0, 0, 2499, 0), fill=0, width=3)  # so that it is as wide as the sheet
    if grey:
        image.putpixel((5, 0), 9)
    [small] = fit(whole_sheet(encode(image), where="a"), RAW)
    plain = np.asarray(image.resize((118, 118), Image.Resampling.BOX)).min(1) / 255
    contrast = 1 - np.median(small[10:-8].min(1))
    assert contrast > 0.3
    assert contrast > 2 * (1 - np.median(plain[3:]))


@pytest.mark.parametrize("size", [(512, 300), (513, 300), (1023, 400), (1025, 3), (9000, 2)])
@pytest.mark.parametrize("grey", [False, True])
def test_a_master_is_as_long_as_it_may_be_and_keeps_its_shape(encode, size, grey):
    image = Image.new("L", size, 255)
    for x in (*range(0, size[0], 3), size[0] - 1):
        image.paste(0, (x, 0, x + 1, size[1]))
    image.putpixel((1, 1), 1 if grey else 255)
    figure = whole_sheet(encode(image), where="a")
    assert max(figure.pixels.shape) == min(MASTER_SIDE, max(size))
    height = max(1, round(size[1] * max(figure.pixels.shape) / max(size)))
    assert figure.pixels.shape[0] == height


@pytest.mark.parametrize("height", [1, 37, 300, 301])
def test_a_large_page_in_colour_is_read_in_strips_to_the_same_greys(monkeypatch, encode, height):
    rng = np.random.default_rng(height)
    colours = rng.integers(0, 256, (height, 211, 3), dtype=np.uint8)
    colours[::3] = colours[:1]  # rows that a PNG writes as differences
    data = encode(Image.fromarray(colours))
    assert png.grey_of_colour(data) is None
    monkeypatch.setattr(png, "LARGE", 1)
    monkeypatch.setattr(png, "STRIP", 211 * 10)
    grey = png.grey_of_colour(data)
    assert grey is not None
    np.testing.assert_array_equal(
        np.asarray(grey), np.asarray(Image.fromarray(colours).convert("L"))
    )
    wanted = whole_sheet(encode(Image.fromarray(colours).convert("L")), where="a")
    np.testing.assert_array_equal(whole_sheet(data, where="a").pixels, wanted.pixels)
    for end in (60, len(data) // 2):
        with pytest.raises(DrawingError):
            whole_sheet(data[:end], where="a")


def test_a_damaged_1_bit_png_is_told_like_any_other(page, encode):
    data = encode(page)
    list(read_pages(data, where="a"))
    for end in (40, len(data) // 2):
        with pytest.raises(DrawingError, match=r"damaged|not an image"):
            list(read_pages(data[:end], where="a"))
