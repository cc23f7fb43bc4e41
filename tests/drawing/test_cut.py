"""A sheet becomes its figures; what is no figure stays behind."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_retrieval.drawing import MASTER_SIDE, FigureImage, cut_sheet, whole_sheet
from edge_retrieval.errors import DrawingError
from edge_retrieval.sources.design import Box


def agree(figure: FigureImage, box: tuple[int, int, int, int], within: int = 6) -> bool:
    return bool(np.abs(np.array(figure.box) - np.array(box)).max() <= within)


def test_two_figures_side_by_side_are_cut_from_left_to_right(paper):
    page = paper()
    left, right = page.chair(300, 800), page.chair(1500, 760)
    figures = cut_sheet(page.bytes(), where="a")
    assert len(figures) == 2
    assert agree(figures[0], left)
    assert agree(figures[1], right)


def test_stacked_figures_are_read_by_rows(paper):
    page = paper()
    wanted = [page.chair(x, y) for y in (300, 1500) for x in (300, 1500)]
    figures = cut_sheet(page.bytes(), where="a")
    assert len(figures) == 4
    assert all(agree(f, box) for f, box in zip(figures, wanted, strict=True))


@pytest.mark.parametrize("text", ["FIG. 1", "FIG.1", "Fig. 3A", "FIG 12", "Fig.7"])
def test_a_caption_is_left_out(paper, text):
    page = paper()
    box = page.chair(900, 800)
    page.word(text, 1000, 1640)
    [figure] = cut_sheet(page.bytes(), where="a")
    assert agree(figure, box)
    assert figure.turned == 0


def test_each_caption_gets_one_figure_though_parts_lie_apart(paper):
    page = paper()
    for top in (300, 1700):
        page.chair(400, top, 600)
        page.chair(1100, top, 600)  # the same figure, exploded
        page.word(f"FIG. {top // 1000 + 1}", 800, top + 750)
    figures = cut_sheet(page.bytes(), where="a")
    assert [agree(f, (400, t, 1400, t + 600)) for f, t in zip(figures, (300, 1700), strict=True)]
    assert len(figures) == 2


def test_without_captions_parts_that_lie_close_are_one_figure(paper):
    page = paper()
    for step in range(4):  # an exploded view: parts 40 px apart
        page.pen.ellipse((800, 500 + 240 * step, 1600, 700 + 240 * step), outline=0, width=4)
    [figure] = cut_sheet(page.bytes(), where="a")
    assert agree(figure, (800, 500, 1601, 1421))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_sheet_whose_captions_are_turned_is_cut_as_if_it_stood_upright(paper, turn):
    page = paper()
    page.chair(300, 700)
    page.word("FIG. 1", 350, 1600)
    page.chair(1500, 700, 900)
    page.word("FIG. 2", 1600, 1700)
    upright = cut_sheet(page.bytes(), where="a")
    page.image = page.image.rotate(turn, expand=True)
    figures = cut_sheet(page.bytes(), where="a")
    assert [f.turned for f in figures] == [360 - turn] * 2
    for turned, straight in zip(figures, upright, strict=True):
        np.testing.assert_array_equal(turned.pixels, straight.pixels)
        wide = turned.box.x1 - turned.box.x0, turned.box.y1 - turned.box.y0
        assert (wide[0] > wide[1]) == (turn != 180)  # the box is that of the sheet before turning


def test_the_office_header_is_left_out(paper):
    page = paper()
    for text, x in (
        ("U.S. Patent", 250),
        ("Feb. 9, 2021", 850),
        ("Sheet 1 of 3", 1350),
        ("US D909,824 S", 1820),
    ):
        page.word(text, x, 180, 60)
    box = page.chair(900, 1000)
    page.word("FIG. 1", 1000, 1900)
    [figure] = cut_sheet(page.bytes(), where="a")
    assert agree(figure, box)


def test_a_page_border_is_left_out(paper):
    page = paper()
    page.pen.rectangle((150, 150, 2400, 3150), outline=0, width=5)
    boxes = page.chair(500, 500), page.chair(1500, 1900)
    figures = cut_sheet(page.bytes(), where="a")
    assert len(figures) == 2
    assert all(agree(f, b) for f, b in zip(figures, boxes, strict=True))


def test_a_square_frame_that_is_the_design_is_kept(paper):
    page = paper((1000, 1000))
    page.pen.rectangle((20, 20, 980, 980), outline=0, width=5)
    page.pen.rectangle((200, 200, 800, 800), outline=0, width=5)
    [figure] = cut_sheet(page.bytes(), where="a")
    assert agree(figure, (20, 20, 981, 981))


@pytest.mark.parametrize(
    "cut", [lambda d: cut_sheet(d, where="a")[0], lambda d: whole_sheet(d, where="a")]
)
def test_specks_of_scan_noise_do_not_move_the_box(paper, cut):
    clean, noisy = paper(), paper()
    clean.chair(900, 1000)
    noisy.chair(900, 1000)
    for x, y in ((3, 3), (2500, 40), (60, 3280), (2400, 3200), (1300, 2900)):
        noisy.pen.rectangle((x, y, x + 5, y + 3), fill=0)
    plain, specked = cut(clean.bytes()), cut(noisy.bytes())
    assert plain.box == specked.box
    np.testing.assert_array_equal(plain.pixels, specked.pixels)


def test_the_same_figure_from_png_tiff_and_bmp_is_equal_bit_for_bit(paper, encode):
    page = paper()
    page.chair(300, 800)
    page.word("FIG. 9", 350, 1640)
    grey = page.image.convert("L")
    same = [
        page.bytes("PNG"),
        page.bytes("TIFF", compression="group4"),
        page.bytes("BMP"),
        encode(grey, "PNG"),
        encode(grey.convert("RGB"), "PNG"),
        encode(grey.convert("P"), "PNG"),
        encode(grey, "WEBP", lossless=True),
    ]
    first, *others = [cut_sheet(data, where="a") for data in same]
    assert len(first) == 1
    for [other] in others:
        assert other.box == first[0].box
        np.testing.assert_array_equal(other.pixels, first[0].pixels)


@pytest.mark.parametrize("turn", [0, 90])
def test_given_boxes_lead_to_the_same_figures(paper, turn):
    page = paper()
    page.chair(300, 800)
    page.word("FIG. 1", 350, 1640)
    page.chair(1500, 760)
    page.word("FIG. 2", 1600, 1640)
    page.image = page.image.rotate(turn, expand=True)
    found = cut_sheet(page.bytes(), where="a")
    loose = [Box(x0 - 20, y0 - 20, x1 + 20, y1 + 20) for x0, y0, x1, y1 in (f.box for f in found)]
    given = cut_sheet(page.bytes(), where="a", boxes=loose)
    assert [f.box for f in given] == [f.box for f in found]
    for a, b in zip(given, found, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_a_given_box_may_cut_through_ink_and_comes_in_the_order_given(paper):
    page = paper()
    page.pen.rectangle((500, 500, 1500, 1500), outline=0, width=6)
    boxes = [Box(900, 400, 1600, 1600), Box(400, 400, 700, 1600)]
    right, left = cut_sheet(page.bytes(), where="a", boxes=boxes)
    assert right.box == (900, 500, 1501, 1501)
    assert left.box == (500, 500, 700, 1501)


def test_a_box_without_ink_is_an_error(paper):
    page = paper()
    page.chair(300, 800)
    for box in (Box(2000, 2000, 2100, 2100), Box(9000, 0, 9100, 10), Box(5, 5, 5, 5)):
        with pytest.raises(DrawingError, match="no ink in the box"):
            cut_sheet(page.bytes(), where="a", boxes=[box])


def test_a_wide_drawing_loses_no_ends(paper):
    page = paper((3000, 400))
    page.pen.line((1, 200, 2998, 200), fill=0, width=3)
    page.pen.line((1, 20, 1, 380), fill=0, width=3)
    page.pen.line((2998, 20, 2998, 380), fill=0, width=3)
    [figure] = cut_sheet(page.bytes(), where="a")
    assert figure.box.x0 <= 1
    assert figure.box.x1 >= 2998
    assert figure.pixels.shape[1] == MASTER_SIDE
    assert figure.pixels[:, 0].min() < 128
    assert figure.pixels[:, -1].min() < 128


@pytest.mark.parametrize("width", [1, 2, 3])
def test_thin_strokes_stay_visible_in_the_master(paper, width):
    page = paper()
    page.pen.rectangle((200, 200, 2300, 3000), outline=0, width=width)
    [figure] = cut_sheet(page.bytes(), where="a")
    middle = figure.pixels[figure.pixels.shape[0] // 2, :6]
    assert middle.min() < 130


def test_ink_of_another_figure_within_the_box_is_not_seen(paper):
    page = paper()
    page.pen.line((300, 300, 300, 2900), fill=0, width=5)
    page.pen.line((300, 2900, 2200, 2900), fill=0, width=5)
    page.word("FIG. 1", 1000, 3000)
    other = page.chair(1400, 300, 900)
    page.word("FIG. 2", 1500, 1300)
    figures = cut_sheet(page.bytes(), where="a")
    assert len(figures) == 2
    [corner] = [f for f in figures if f.box.x0 < 400]
    assert (corner.pixels[: corner.pixels.shape[0] // 2, 100:] == 255).all()
    assert any(agree(f, other) for f in figures)


def test_every_page_of_a_tiff_is_cut(paper, encode):
    pages = [paper() for _ in range(3)]
    pages[0].chair(300, 800)
    pages[2].chair(300, 800)  # page 2 is blank
    data = encode(
        pages[0].image, "TIFF", save_all=True, append_images=[p.image for p in pages[1:]],
        compression="group4",
    )  # fmt: skip
    assert len(cut_sheet(data, where="a")) == 2
    with pytest.raises(DrawingError, match="several pages"):
        cut_sheet(data, where="a", boxes=[Box(0, 0, 2000, 2000)])


def test_a_photograph_on_grey_paper_has_white_paper_and_keeps_its_tones():
    rng = np.random.default_rng(0)
    scan = rng.normal(212, 4, (1200, 1000))
    scan[300:900, 300:700] = np.linspace(40, 180, 400)[None]
    image = Image.fromarray(np.clip(scan, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((290, 290, 710, 910), outline=30, width=4)
    data = __import__("io").BytesIO()
    image.save(data, "PNG")
    [figure] = cut_sheet(data.getvalue(), where="a")
    assert agree(figure, (290, 290, 711, 911), within=2)
    row = figure.pixels[figure.pixels.shape[0] // 2]
    tones = row[20:-20].astype(int)
    assert (np.diff(tones) >= -2).all()
    assert tones[-1] - tones[0] > 100


def test_paper_of_a_grey_scan_becomes_white():
    rng = np.random.default_rng(1)
    scan = rng.normal(225, 3, (800, 800))
    scan[200:600, 200:204] = 60
    scan[200:600, 596:600] = 60
    scan[200:204, 200:600] = 60
    out = __import__("io").BytesIO()
    Image.fromarray(scan.astype(np.uint8)).save(out, "PNG")
    figure = whole_sheet(out.getvalue(), where="a")
    assert agree(figure, (200, 200, 600, 600), within=1)
    inner = figure.pixels[20:-20, 20:-20]
    assert (inner == 255).mean() > 0.97


@pytest.mark.real
def test_the_cut_finds_as_many_figures_as_the_office_states(real_data):
    stated = {"USD0909824-20210209": 7, "USD0921834-20210608": 8, "USD0921835-20210608": 8}
    for design, figures in stated.items():
        sheets = sorted((real_data / "uspto-grants" / design).glob("*.TIF"))
        drawings = [sheet for sheet in sheets if "D00000" not in sheet.name]
        found = [len(cut_sheet(s.read_bytes(), where=s.name)) for s in drawings]
        assert sum(found) == figures, design


@pytest.mark.real
def test_sideways_sheets_of_real_patents_are_turned(real_data):
    sheets = real_data / "uspto-multiview" / "sheets"
    for name, turned in (("USD669945-S01.png", 270), ("USD858876-S04.png", 0)):
        [figure] = cut_sheet((sheets / name).read_bytes(), where=name)
        assert figure.turned == turned
