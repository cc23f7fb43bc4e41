"""Whatever the file, a page is dark ink on white paper; or one error that says what is wrong."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_retrieval import drawing
from edge_retrieval.drawing import cut_sheet, whole_sheet
from edge_retrieval.errors import DrawingError, MissingExtraError
from edge_retrieval.limits import Limits, within


def ring(mode: str = "L", ink: object = 0, paper: object = 255) -> Image.Image:
    image = Image.new(mode, (400, 300), paper)
    ImageDraw.Draw(image).ellipse((100, 60, 300, 240), outline=ink, width=8)
    return image


def data_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


PLAIN = whole_sheet(data_of(ring()), where="plain")


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


def faded(image: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    layer.putalpha(Image.eval(image, lambda v: 255 - v))
    return layer


def light_ink_on_nothing(image: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    layer.putalpha(Image.eval(image, lambda v: 255 - v))
    return layer


def white_is_zero(image: Image.Image) -> bytes:
    """Write the inverted image and say so in the tag PhotometricInterpretation."""
    data = data_of(image, "TIFF")
    tag = (262).to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00"
    assert data.count(tag + b"\x01") == 1
    return data.replace(tag + b"\x01", tag + b"\x00")


KINDS = {
    "1-bit": lambda: data_of(ring("1", 0, 1)),
    "fax": lambda: data_of(ring("1", 0, 1), "TIFF", compression="group4"),
    "TIFF, white is zero": lambda: white_is_zero(ring("1", 1, 0)),
    "raw TIFF": lambda: data_of(ring(), "TIFF"),
    "BMP": lambda: data_of(ring(), "BMP"),
    "palette": lambda: data_of(ring().convert("P")),
    "RGB": lambda: data_of(ring("RGB", (0, 0, 0), (255, 255, 255))),
    "grey and alpha": lambda: data_of(ring().convert("LA")),
    "ink with alpha": lambda: data_of(faded(ring())),
    "white ink with alpha": lambda: data_of(light_ink_on_nothing(ring())),
    "16-bit PNG": lambda: data_of(deep(ring())),
    "16-bit TIFF": lambda: data_of(deep(ring()), "TIFF"),
    "float TIFF": lambda: data_of(ring().convert("F"), "TIFF"),
    "CMYK TIFF": lambda: data_of(ring("RGB", (0, 0, 0), (255, 255, 255)).convert("CMYK"), "TIFF"),
    "white on black": lambda: data_of(ring("L", 255, 0)),
    "white on black, 1-bit": lambda: data_of(ring("1", 1, 0)),
    "lossless WebP": lambda: data_of(ring(), "WEBP", lossless=True),
    "faint grey": lambda: data_of(ring("L", 80, 230)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_figure(kind):
    figure = whole_sheet(KINDS[kind](), where=kind)
    assert figure.box == PLAIN.box
    np.testing.assert_array_equal(figure.pixels, PLAIN.pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_files_give_nearly_the_same_figure(kind):
    figure = whole_sheet(data_of(ring(), kind, quality=90), where=kind)
    assert np.abs(np.array(figure.box) - np.array(PLAIN.box)).max() <= 2


def test_a_large_jpeg_is_read_at_a_reduced_scale_with_boxes_of_the_full_one():
    image = Image.new("L", (4000, 6000), 255)
    ImageDraw.Draw(image).rectangle((800, 1200, 3200, 4800), outline=0, width=12)
    [figure] = cut_sheet(data_of(image, "JPEG", quality=90), where="a")
    assert np.abs(np.array(figure.box) - np.array((800, 1200, 3201, 4801))).max() <= 4


def test_orientation_of_a_photograph_is_followed():
    image = Image.new("L", (600, 400), 255)
    ImageDraw.Draw(image).polygon([(100, 100), (500, 100), (100, 200)], fill=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by a quarter
    figure = whole_sheet(data_of(image, "PNG", exif=exif), where="a")
    wanted = whole_sheet(data_of(image.transpose(Image.Transpose.ROTATE_270)), where="a")
    assert figure.box == wanted.box
    np.testing.assert_array_equal(figure.pixels, wanted.pixels)


@pytest.mark.parametrize("read", [cut_sheet, whole_sheet])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"no picture at all", "not an image"),
        (b"II*\x00" + bytes(40), "sheet.tif"),
        (b"\x89PNG\r\n\x1a\n", "sheet.tif"),
    ],
)
def test_what_is_no_drawing_is_one_error_with_a_hint(read, data, says):
    with pytest.raises(DrawingError, match=says) as caught:
        read(data, where="sheet.tif")
    assert "sheet.tif" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("read", [cut_sheet, whole_sheet])
@pytest.mark.parametrize("paper", [0, 128, 247, 255])
def test_an_empty_page_is_an_error(read, paper):
    with pytest.raises(DrawingError, match="empty"):
        read(data_of(Image.new("L", (300, 400), paper)), where="a")


def test_a_page_that_is_too_large_is_refused_before_it_is_unpacked():
    refused = pytest.raises(DrawingError, match=r"400 x 300 pixels: .* 1,000 .--max-pixels")
    with within(Limits(pixels=1000)), refused as caught:
        cut_sheet(data_of(ring()), where="a")
    assert "lower resolution" in caught.value.hint


@pytest.mark.parametrize("size", [(12_000, 9_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_no_warning_but_our_error_or_a_drawing(size):
    header = data_of(Image.new("1", (8, 8), 1), "BMP")
    bomb = bytearray(header)
    bomb[18:26] = size[0].to_bytes(4, "little") + size[1].to_bytes(4, "little")
    with pytest.raises(DrawingError):
        cut_sheet(bytes(bomb), where="a")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {"compression": "group4"}), ("TIFF", {}), ("BMP", {}), ("JPEG", {})],
)
def test_a_truncated_file_is_an_error(kind, options):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.random((300, 400)) < 0.9)
    whole = data_of(image if "compression" in options else image.convert("L"), kind, **options)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(DrawingError):
            cut_sheet(whole[: int(len(whole) * share)], where="a")


FILES = [make() for make in KINDS.values()] + [data_of(ring(), "JPEG")]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_give_figures_or_our_error_and_nothing_else(data):
    whole = bytearray(data.draw(st.sampled_from(FILES)))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        figures = cut_sheet(bytes(whole), where="a")
    except DrawingError:
        return
    assert figures


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"II*\0", b"BM", b"\x89PNG\r\n\x1a\n", b"%PDF-"])
)
def test_random_bytes_give_our_error(tail, head):
    with pytest.raises(DrawingError):
        whole_sheet(head + tail, where="a")


def test_pdf_pages_are_cut():
    pytest.importorskip("pypdfium2")
    pages = [Image.new("L", (2550, 3300), 255) for _ in range(2)]
    for page in pages:
        ImageDraw.Draw(page).rectangle((600, 800, 1800, 2400), outline=0, width=5)
    data = data_of(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=300)
    figures = cut_sheet(data, where="a")
    assert len(figures) == 2
    for figure in figures:
        assert np.abs(np.array(figure.box) - np.array((600, 800, 1801, 2401))).max() <= 4


def test_pdf_without_its_extra_says_which_one(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    with pytest.raises((MissingExtraError, ImportError)):
        drawing.cut_sheet(b"%PDF-1.4", where="a")
