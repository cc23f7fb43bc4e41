"""Drawings of LDraw parts: read from an archive, true to their lines, and readable as a source."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.ldraw import BrokenFileError, Library, Part, Shape, build_surface, open_archive
from distill.ldraw.archive import parse, read_header
from distill.ldraw.choice import Chooser, in_order, mould_of
from distill.ldraw.dataset import generate_parts
from distill.ldraw.drawing import draw_part, style_of
from distill.ldraw.lines import part_lines
from distill.ldraw.parts import group_of
from distill.ldraw.rounding import rounded
from distill.synthetic.hidden_lines import Camera, FeatureLines, look
from edge_retrieval import cli
from edge_retrieval.errors import ConfigError, SourceError
from edge_retrieval.sources import Design, open_source

FRAME = 200

HEADER = "0 {title}\n0 Name: x.dat\n0 !LDRAW_ORG {kind} UPDATE 2004-03\n"

CORNERS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]


def words(*points: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for point in points for number in point)


def box_lines() -> str:
    """A cube from -1 to 1: twelve edges and six faces, wound either way."""
    lines = [
        f"2 24 {words(one, other)}"
        for number, one in enumerate(CORNERS)
        for other in CORNERS[number:]
        if sum(a != b for a, b in zip(one, other, strict=True)) == 1
    ]
    for axis in range(3):
        for side in (-1, 1):
            face = ((-1, -1), (1, -1), (1, 1), (-1, 1))
            lines.append(f"4 16 {words(*((*p[:axis], side, *p[axis:]) for p in face))}")
    return "\n".join(lines)


def tube_lines(sides: int = 16) -> str:
    """An upright tube of radius 1 and height 1: round edges, walls, a conditional line a corner."""
    angles = 2 * np.pi * np.arange(sides + 2) / sides
    low = [(float(np.cos(a)), 0.0, float(np.sin(a))) for a in angles]
    high = [(x, 1.0, z) for x, _, z in low]
    lines = []
    for n in range(sides):
        lines += [f"2 24 {words(ring[n], ring[n + 1])}" for ring in (low, high)]
        lines.append(f"4 16 {words(low[n], low[n + 1], high[n + 1], high[n])}")
        lines.append(f"5 24 {words(low[n + 1], high[n + 1], low[n], low[n + 2])}")
        lines += [f"3 16 {words((0, 0, 0), low[n], low[n + 1])}"]
        lines += [f"3 16 {words((0, 1, 0), high[n], high[n + 1])}"]
    return "\n".join(lines)


def put(name: str, scale: tuple[float, float, float], at: tuple[float, float, float]) -> str:
    x, y, z = scale
    return f"1 16 {words(at, (x, 0, 0), (0, y, 0), (0, 0, z))} {name}"


def part(title: str, *lines: str, kind: str = "Part") -> str:
    return HEADER.format(title=title, kind=kind) + "\n".join(lines) + "\n"


BLOCK = put("box.dat", (20, 12, 10), (0, 0, 0))
KNOB = put("tube.dat", (6, -4, 6), (0, -12, 0))

FILES = {
    "p/box.dat": part("Box", box_lines(), kind="Primitive"),
    "p/tube.dat": part("Tube", tube_lines(), kind="Primitive"),
    "parts/s/1s01.dat": part("~Block", BLOCK, kind="Subpart"),
    "parts/1.dat": part("Brick  1 x  2", put("s\\1s01.dat", (1, 1, 1), (0, 0, 0)), KNOB),
    "parts/1p01.dat": part(
        "Brick  1 x  2 with Star Pattern", "4 4 -5 0 -10 5 0 -10 5 4 -10 -5 4 -10", BLOCK, KNOB
    ),
    "parts/2.dat": part(
        "Brick  1 x  2 with Wide Knob", put("tube.dat", (10, -9, 10), (0, 0, 0)), BLOCK
    ),
    "parts/3.dat": part("Minifig Helmet Tall", "0 !CATEGORY Minifig Headwear", KNOB, KNOB, BLOCK,
                        put("TUBE.DAT", (3, -9, 3), (0, -12, 0))),
    "parts/4.dat": part("~Moved to 1", BLOCK, KNOB),
    "parts/5.dat": part("Tile", BLOCK),
    "parts/6.dat": part("Bar", put("tube.dat", (1, 200, 1), (0, 0, 0))),
}  # fmt: skip


def write_archive(path: Path, files: dict[str, str], mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            content = text.replace("\n", "\r\n").encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bricks, a printed one, a helmet; an alias, a bare block, a stick."""
    return write_archive(tmp_path_factory.mktemp("ldraw") / "ldraw.tar.xz", FILES)


def shape_of(text: str) -> Shape:
    model = parse(text, "test")
    return Shape(model.triangles, model.edges, model.conditionals)


def seen(shape: Shape, camera: Camera) -> FeatureLines:
    surface = build_surface(shape)
    return part_lines(look(surface.mesh, camera, FRAME), surface)


def length(segments: np.ndarray) -> float:
    return float(np.hypot(*(segments[:, 2:] - segments[:, :2]).T).sum())


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def named(library: Library, name: str) -> Part:
    return next(part for part in library.parts() if part.name == name)


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_is_read_however_it_is_packed_and_whatever_folder_it_is_in(tmp_path, mode):
    files = {f"ldraw/{name}": text for name, text in FILES.items()}
    opened = open_archive(write_archive(tmp_path / "a.tar", files, mode))
    assert opened.part_names()[:3] == ["1.dat", "1p01.dat", "2.dat"]
    assert opened.find("s/1s01.dat") == "parts/s/1s01.dat"
    assert opened.find("box.dat") == "p/box.dat"


def test_a_part_has_the_geometry_of_all_that_it_refers_to_in_its_place(archive):
    library = Library(open_archive(archive))
    shape = library.shape(named(library, "1"))
    assert shape.triangles.shape == (12 + 16 * 4, 3, 3)
    assert shape.edges.shape == (12 + 32, 2, 3)
    assert shape.conditionals.shape == (16, 4, 3)
    assert shape.edges.reshape(-1, 3).min(0) == pytest.approx([-20, -16, -10])
    assert shape.edges.reshape(-1, 3).max(0) == pytest.approx([20, 12, 10])


def test_a_matrix_is_applied_row_by_row_as_the_format_says(tmp_path):
    # x' = a x + b y + c z + x0, and so on: here x' = 2 y + 100, y' = 3 z, z' = 4 x.
    files = {
        "parts/1.dat": part("Turned", "1 16 100 0 0 0 2 0 0 0 3 4 0 0 one.dat"),
        "p/one.dat": part("One", "2 24 1 10 100 0 0 0", kind="Primitive"),
    }
    library = Library(open_archive(write_archive(tmp_path / "a.tar", files, "w")))
    assert library.shape(named(library, "1")).edges[0, 0].tolist() == [120, 300, 4]


def test_a_header_says_title_category_and_kind_and_geometry_ends_it():
    text = part(
        "Minifig  Hat", "0 !CATEGORY Minifig Headwear", "2 24 0 0 0 1 1 1", "0 !CATEGORY No"
    )
    header = read_header(text)
    assert (header.title, header.category, header.kind) == (
        "Minifig Hat", "Minifig Headwear", "Part",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("title", "group"),
    [
        ("Brick  2 x  4", "Brick"),
        ("Brick  2 x  4 with Hole and Pin", "Brick with Hole"),
        ("Minifig Helmet Castle with Comb", "Minifig Helmet"),
        ("Slope Brick 45  2 x  2", "Slope Brick"),
        ("Wheel 43.2mm x 18mm", "Wheel"),
        ("2 x 4", "Other"),
    ],
)
def test_a_group_is_what_a_title_names_without_sizes(title, group):
    assert group_of(title) == group


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1 gone.dat", "gone.dat is not in the archive"),
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1 s\\bad.dat", "parts/s/bad.dat: a line of geometry does not"),
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1 1.dat", "parts/1.dat refers to itself"),
        ("1 16 0 0 0 1 0 0 0 1 0 0 0 1", "parts/1.dat: a line of type 1 names no file"),
        ("2 24 0 0 0 1 1", "parts/1.dat: a line of geometry does not have 6 numbers"),
        ("3 16 0 0 0 1 1 1 2 2 nan", "parts/1.dat: a line of geometry does not have 9 numbers"),
    ],
)
def test_a_missing_or_broken_file_is_named(tmp_path, line, reason):
    files = {
        "parts/1.dat": part("Part", line),
        "parts/s/bad.dat": part("Bad", "4 16 0 0 0 1 1 1 2 2", kind="Subpart"),
    }
    library = Library(open_archive(write_archive(tmp_path / "a.tar", files, "w")))
    with pytest.raises(BrokenFileError) as caught:
        library.shape(named(library, "1"))
    assert reason in str(caught.value)


def test_what_is_no_ldraw_archive_gets_a_hint(tmp_path):
    text, empty = tmp_path / "a.tar", tmp_path / "empty.tar"
    text.write_text("this is no archive")
    write_archive(empty, {"readme.txt": "nothing here"}, "w")
    cut = write_archive(tmp_path / "cut.tar.xz", FILES)
    cut.write_bytes(cut.read_bytes()[:200])
    for path in (text, empty, cut, tmp_path / "missing.tar"):
        with pytest.raises(SourceError) as caught:
            open_archive(path)
        assert str(path) in str(caught.value)
        assert caught.value.hint


# --- lines ---------------------------------------------------------------------------------------


def test_a_box_shows_nine_of_its_twelve_edges_whichever_way_its_faces_are_wound():
    shape = shape_of(box_lines())
    mirrored = Shape(shape.triangles[:, ::-1], shape.edges, shape.conditionals)
    for solid in (shape, mirrored):
        lines = seen(solid, Camera(45, 35.264))
        # Seen along its diagonal every edge has the same length: six make the outline, three meet.
        assert length(lines.outline) / length(lines.crease) == pytest.approx(2, rel=0.06)


def test_a_conditional_line_is_drawn_where_the_surface_turns_away_and_nowhere_else():
    shape = shape_of(tube_lines())
    upright = [row for row in seen(shape, Camera(10, 20)).outline.tolist() if row[0] == row[2]]
    places = sorted({round(row[0]) for row in upright})
    assert len(places) == 2  # the left and the right side of the tube
    assert places[1] - places[0] > 0.8 * FRAME


def test_conditional_lines_agree_with_a_plain_reading_of_the_format():
    shape = shape_of(tube_lines())
    surface = build_surface(shape)
    rng = np.random.default_rng(0)
    for azimuth, elevation in rng.uniform(-80, 80, (20, 2)):
        scene = look(surface.mesh, Camera(azimuth, elevation), FRAME)
        drawn = 0
        for start, end, one, other in scene.screen[surface.conditionals][:, :, :2]:
            sides = [
                (end[0] - start[0]) * (p[1] - start[1]) - (end[1] - start[1]) * (p[0] - start[0])
                for p in (one, other)
            ]
            drawn += sides[0] * sides[1] > 0
        assert drawn == 2


def test_what_is_hidden_is_not_drawn_and_nothing_else_is_left_out():
    near = shape_of(box_lines())
    far = (corners * 0.4 + [0, 0, 3] for corners in (near.triangles, near.edges, near.conditionals))
    alone, both = (
        seen(shape, Camera(0, 0)) for shape in (near, Shape.together([near, Shape(*far)]))
    )
    for lines in (alone, both):
        # Square on, the edges of the back lie on those of the front.
        outline = np.unique(np.round(lines.outline), axis=0)
        assert length(outline) == pytest.approx(4 * 0.88 * FRAME, rel=0.02)
        assert length(lines.crease) < 8


def test_an_arc_of_few_corners_becomes_round_and_a_corner_stays_one():
    angles = 2 * np.pi * np.arange(17) / 16
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    round_one = rounded(circle)
    assert len(round_one) == 65
    assert np.abs(np.hypot(*round_one.T) - 1).max() < 2e-3
    middle = (circle[1:] + circle[:-1]) / 2
    assert np.abs(np.hypot(*middle.T) - 1).max() > 0.015
    half = rounded(circle[:9])
    assert np.abs(np.hypot(*half.T) - 1).max() < 2e-3
    for corners in (
        [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]],
        [[0, 0], [5, 0], [6, 0.4], [11, 2.4]],  # a bevel
        [[0, 0], [1, 0], [2, 0], [3, 0]],
        [[0, 0], [1, 1]],
    ):
        line = np.array(corners, float)
        assert np.array_equal(rounded(line), line)


# --- choice --------------------------------------------------------------------------------------


def test_a_print_does_not_make_another_mould_and_a_knob_does(archive):
    library = Library(open_archive(archive))
    plain, printed, wide = (
        mould_of(library.shape(named(library, name))) for name in ("1", "1p01", "2")
    )
    assert plain == printed != wide


def test_parts_are_chosen_once_a_mould_and_what_is_passed_over_is_counted(archive):
    chooser = Chooser(Library(open_archive(archive)))
    assert sorted(part.name for part, _ in chooser.choose(99)) == ["1", "2", "3"]
    assert chooser.passed_over == {
        "pieces of parts and aliases": 1,
        "the same mould as another": 1,
        "too plain": 1,
        "too thin": 1,
    }
    assert not chooser.problems


def test_any_beginning_of_the_order_is_spread_over_categories():
    parts = [
        Part(f"{category}{number}", "Thing", category, f"{category} {number // 9}", "Part")
        for category, count in (("Brick", 40), ("Tap", 3), ("Wheel", 20))
        for number in range(count)
    ]
    ordered = in_order(parts)
    assert sorted(part.name for part in ordered) == sorted(part.name for part in parts)
    assert [part.category for part in ordered[:6]] == ["Brick"] * 2 + ["Tap"] * 2 + ["Wheel"] * 2
    assert in_order(reversed(parts)) == ordered


# --- the collection ------------------------------------------------------------------------------


def test_the_collection_is_a_source_whose_labels_are_category_and_group(archive, tmp_path):
    drawn = generate_parts(archive, tmp_path / "out", designs=9, seed=1, views=3, size=64)
    assert (drawn.designs, drawn.figures, drawn.problems) == (3, 9, ())
    read = {item.number: item for item in open_source(drawn.folder) if isinstance(item, Design)}
    assert set(read) == {"LDRAW-1", "LDRAW-2", "LDRAW-3"}
    assert read["LDRAW-2"].labels == ("Brick", "Brick with Wide")
    assert read["LDRAW-3"].labels == ("Minifig Headwear", "Minifig Helmet")
    assert [item for item in open_source(drawn.folder) if not isinstance(item, Design)] == []
    said = (drawn.folder / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert "LDraw Parts Library" in said and "https://creativecommons.org/licenses/by/2.0/" in said


def test_figures_have_ink_within_the_sheet(archive, tmp_path):
    generate_parts(archive, tmp_path / "out", designs=3, seed=2, views=8, size=96, restyled=1)
    for row in rows_of(tmp_path / "out"):
        grey = np.asarray(Image.open(tmp_path / "out" / row["file_name"]).convert("L"))
        assert grey.shape == (96, 96)
        assert 1 - grey.mean() / 255 > 0.005
        edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        assert (edge < 128).sum() <= 2  # specks of a scan, no lines


def test_a_small_collection_is_the_beginning_of_a_large_one_whatever_the_number_of_workers(
    archive, tmp_path
):
    small, large = tmp_path / "small", tmp_path / "large"
    generate_parts(archive, small, designs=2, seed=5, views=2, size=48, restyled=0.5)
    generate_parts(archive, large, designs=3, seed=5, views=2, size=48, restyled=0.5, workers=2)
    assert rows_of(large)[:4] == rows_of(small)
    for row in rows_of(small):
        assert (large / row["file_name"]).read_bytes() == (small / row["file_name"]).read_bytes()


def test_a_wrong_view_or_size_is_refused(archive):
    library = Library(open_archive(archive))
    surface = build_surface(library.shape(named(library, "1")))
    for view, size in (("askew", 64), ("front", 16)):
        with pytest.raises(ConfigError):
            draw_part(surface, view, style_of("1", 0), part="1", size=size, seed=0)


def test_an_archive_of_which_nothing_can_be_drawn_leaves_no_folder(tmp_path):
    path = write_archive(tmp_path / "a.tar", {"parts/1.dat": part("Part", "2 24 0")}, "w")
    with pytest.raises(SourceError, match=r"parts/1\.dat"):
        generate_parts(path, tmp_path / "out", designs=1, seed=0)
    assert not (tmp_path / "out").exists()


def test_the_command_draws_tells_what_it_skipped_and_ends_with_3(
    tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    files = FILES | {"parts/7.dat": part("Wheel", "1 16 0 0 0 1 0 0 0 1 0 0 0 1 gone.dat")}
    path, out = write_archive(tmp_path / "a.tar", files, "w"), tmp_path / "out"

    def call(*more: object) -> int:
        arguments = ["edge-ret", "data", "ldraw", path, out, "--views", 1, "--size", 64, *more]
        monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert call("--designs", 9, "--jobs", 1) == 3
    said = capsys.readouterr()
    assert said.out == f"{out}: 3 parts, 3 figures\n"
    assert "parts/7.dat: gone.dat is not in the archive" in said.err
    assert "LDraw Parts Library" in said.err
    assert call() == 1  # OUT is not empty
    assert "hint: " in capsys.readouterr().err


# --- the library itself ---------------------------------------------------------------------------


@pytest.mark.real
def test_parts_of_the_real_library_are_drawn(real_data, tmp_path):
    path = real_data / "ldraw" / "ldraw_subset_4724.tar.xz"
    drawn = generate_parts(path, tmp_path / "out", designs=16, seed=1, views=1, size=96)
    assert (drawn.designs, drawn.figures, drawn.problems) == (16, 16, ())
    rows = rows_of(drawn.folder)
    assert len({row["class"] for row in rows}) >= 8
    for row in rows:
        grey = np.asarray(Image.open(drawn.folder / row["file_name"]).convert("L"))
        assert 0.005 < 1 - grey.mean() / 255 < 0.4
