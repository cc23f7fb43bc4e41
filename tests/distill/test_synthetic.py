"""Made drawings: the same for the same seed, true to their solids, and readable as a collection."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.synthetic import FAMILIES, VIEWS, Part, contact_sheet, draw, generate, make_design
from distill.synthetic.dataset import place_of
from distill.synthetic.families import chosen_families
from distill.synthetic.geometry import ball, box, cylinder, polygon, spline, tube, turned
from distill.synthetic.hidden_lines import Camera, Scene, depth_buffer, feature_lines, look
from distill.synthetic.mesh import build_mesh
from edge_retrieval import cli
from edge_retrieval.errors import ConfigError

FRONT = Camera(0, 0)
FRAME = 200


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def seen(*parts: Part, camera: Camera = FRONT) -> Scene:
    return look(build_mesh(parts), camera, FRAME)


def length(segments: np.ndarray) -> float:
    return float(np.hypot(*(segments[:, 2:] - segments[:, :2]).T).sum())


# --- the same choices, the same drawing ---------------------------------------------------------


def test_a_drawing_depends_on_its_key_alone_and_not_on_what_was_drawn_before():
    first = draw(make_design("07-01/mug", 3, 7), "front", size=96, seed=7)
    for key, index in (("06-01/chair", 0), ("07-01/mug", 2)):
        design = make_design(key, index, 7)
        draw(design, "top", size=64, seed=7)
    again = make_design("07-01/mug", 3, 7)
    draw(again, "perspective", size=96, seed=7)
    assert np.array_equal(draw(again, "front", size=96, seed=7), first)


def test_another_seed_or_another_index_makes_another_drawing():
    drawings = [
        draw(make_design("08-06/knob", index, seed), "left", size=64, seed=seed).tobytes()
        for index, seed in ((0, 0), (1, 0), (0, 1))
    ]
    assert len(set(drawings)) == 3


def test_a_small_set_is_the_beginning_of_a_large_one_whatever_the_number_of_workers(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    generate(small, designs=3, seed=5, views=2, size=48)
    generate(large, designs=5, seed=5, views=2, size=48, workers=2)
    assert rows_of(large)[:6] == rows_of(small)
    for row in rows_of(small):
        assert (large / row["file_name"]).read_bytes() == (small / row["file_name"]).read_bytes()


def test_fewer_views_are_a_part_of_more(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    generate(few, designs=2, seed=5, views=3, size=32)
    generate(many, designs=2, seed=5, views=6, size=32)
    shown = {(row["design"], row["view"]) for row in rows_of(many)}
    assert {(row["design"], row["view"]) for row in rows_of(few)} < shown


def test_some_designs_are_siblings_with_the_same_parts_in_other_proportions():
    def shape(index: int) -> tuple[int, int]:
        mesh = make_design("21-02/dumbbell", index, 0).mesh
        return len(mesh.triangles), len(mesh.edges)

    pairs = [(shape(i), shape(i + 1)) for i in range(0, 16, 2)]
    assert any(one == other for one, other in pairs)
    assert any(one != other for one, other in pairs)


# --- what is hidden is not drawn ----------------------------------------------------------------


def test_a_box_behind_a_box_is_not_drawn():
    front, behind = Part(box(2, 1, 2)), Part(box(1, 1, 1, (0, 3, 0.5)))
    lines = feature_lines(seen(front, behind))
    alone = feature_lines(seen(front))
    for kind in ("outline", "crease", "tangent", "broken_outline", "broken_crease"):
        assert length(getattr(lines, kind)) == pytest.approx(length(getattr(alone, kind)), abs=8)
    low, high = 0.06 * FRAME, 0.94 * FRAME
    middle = (lines.outline[:, :2] + lines.outline[:, 2:]) / 2
    near_edge = np.minimum(np.abs(middle - low), np.abs(middle - high)).min(1)
    assert near_edge.max() < 3


def test_the_same_box_is_drawn_when_it_stands_before_the_other():
    back, before = Part(box(2, 1, 2)), Part(box(1, 1, 1, (0, -3, 0.5)))
    alone, both = feature_lines(seen(back)), feature_lines(seen(back, before))
    assert length(both.outline) == pytest.approx(1.5 * length(alone.outline), rel=0.05)


def test_a_box_has_nine_visible_edges_from_a_corner():
    lines = feature_lines(seen(Part(box(1, 1, 1)), camera=Camera(45, 35.264)))
    # Seen along its diagonal every edge has the same length: six make the outline, three meet.
    assert length(lines.outline) / length(lines.crease) == pytest.approx(2, rel=0.05)
    assert not len(lines.broken_outline) and not len(lines.broken_crease)


def test_a_part_that_is_not_claimed_is_drawn_in_broken_lines():
    lines = feature_lines(seen(Part(box(1, 1, 1)), Part(box(1, 1, 1, (0, 0, 1.5)), claimed=False)))
    assert length(lines.broken_outline) == pytest.approx(length(lines.outline), rel=0.05)


def test_broken_lines_leave_gaps_in_the_drawing():
    design = next(
        design
        for index in range(20)
        if not (design := make_design("26-05/pendant-lamp", index, 0)).mesh.claimed.all()
    )
    lines = feature_lines(look(design.mesh, Camera(30, -20), 300))
    assert length(lines.broken_outline) > 20


def test_the_facets_of_a_round_body_are_not_drawn():
    lines = feature_lines(seen(Part(cylinder(1, 2))))
    upright = np.abs(lines.crease[:, 0] - lines.crease[:, 2]) < 1
    tall = np.abs(lines.crease[:, 1] - lines.crease[:, 3]) > 5
    assert not (upright & tall).any()


def test_the_depth_buffer_agrees_with_plain_loops():
    rng = np.random.default_rng(3)
    screen = np.column_stack([rng.uniform(-3, 27, (12, 2)), rng.uniform(-1, 1, 12)])
    triangles = rng.permutation(12).reshape(4, 3)
    slow = np.full((24, 24), -np.inf)
    for a, b, c in screen[triangles]:
        for row in range(24):
            for column in range(24):
                at = np.array([column + 0.5, row + 0.5])
                matrix = np.column_stack([b[:2] - a[:2], c[:2] - a[:2]])
                s, t = np.linalg.solve(matrix, at - a[:2])
                if min(s, t, 1 - s - t) >= 0:
                    depth = a[2] + s * (b[2] - a[2]) + t * (c[2] - a[2])
                    slow[row, column] = max(slow[row, column], depth)
    fast = depth_buffer(screen, triangles, 24)
    assert np.array_equal(np.isfinite(fast), np.isfinite(slow))
    np.testing.assert_allclose(fast, slow, atol=1e-4)


# --- solids -------------------------------------------------------------------------------------


def test_solids_have_the_volume_of_their_formula():
    assert turned([(1, 0), (1, 2)]).volume() == pytest.approx(2 * np.pi, rel=0.01)
    assert tube([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 0.5).volume() == pytest.approx(
        np.pi / 2, rel=0.03
    )
    assert ball(1, sides=64).volume() == pytest.approx(4 / 3 * np.pi, rel=0.02)


def test_a_spline_passes_through_its_nodes():
    nodes = np.array([(0.0, 0), (1, 2), (3, 1), (4, 4)])
    np.testing.assert_allclose(spline(nodes, 5)[::5], nodes)


def test_an_outline_is_filled_whichever_way_it_runs():
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert polygon(square).area() == pytest.approx(1)
    assert polygon(square[::-1]).area() == pytest.approx(1)


# --- the families -------------------------------------------------------------------------------


def test_the_families_span_the_classification():
    subclasses = {family.locarno for family in FAMILIES.values()}
    assert len(FAMILIES) >= 26
    assert len(subclasses) >= 24
    assert len({code[:2] for code in subclasses}) >= 10
    for key, family in FAMILIES.items():
        major, minor = family.locarno.split("-")
        assert 1 <= int(major) <= 32 and 1 <= int(minor) <= 99
        assert key == f"{family.locarno}/{family.name}" and family.title


@pytest.mark.parametrize("key", FAMILIES)
def test_every_family_puts_ink_on_the_sheet_in_every_view_and_none_on_its_edge(key):
    design = make_design(key, 1, 1)
    for view in VIEWS:
        drawing = draw(design, view, size=64, seed=1)
        assert drawing.shape == (64, 64) and drawing.dtype == np.uint8
        assert (255 - drawing.astype(float)).sum() > 8 * 255, view
        if not design.style.scan:
            border = np.concatenate([drawing[0], drawing[-1], drawing[:, 0], drawing[:, -1]])
            assert border.min() == 255, view


def test_a_caption_stands_below_the_figure():
    design = make_design("07-01/bowl", 0, 0)

    def blocks(label: str | None) -> int:
        drawing = draw(design, "front", size=256, seed=0, label=label)
        inked = np.flatnonzero((drawing < 220).any(1))
        return 1 + int((np.diff(inked) > 2).sum())

    assert blocks(None) == 1
    assert blocks("FIG. 2") == 2


def test_an_unknown_family_view_or_size_is_an_error_that_names_the_choices():
    with pytest.raises(ConfigError, match="no family") as caught:
        make_design("06-01/throne", 0, 0)
    assert "06-01/chair" in caught.value.hint
    design = make_design("07-01/bowl", 0, 0)
    with pytest.raises(ConfigError, match="no view"):
        draw(design, "inside", size=64, seed=0)
    with pytest.raises(ConfigError, match="8 pixels"):
        draw(design, "front", size=8, seed=0)


# --- collections --------------------------------------------------------------------------------


def test_a_generated_folder_has_a_row_and_a_file_for_every_view_of_every_design(tmp_path):
    made = generate(tmp_path / "set", designs=4, seed=0, views=3, size=48)
    rows = rows_of(made.folder)
    assert (made.designs, made.figures, made.files) == (4, 12, 12)
    assert len(rows) == 12 and len({row["design"] for row in rows}) == 4
    assert list(rows[0]) == ["file_name", "design", "locarno", "title", "view"]
    for row in rows:
        assert row["design"].startswith("MADE-" + row["locarno"].replace("-", ""))
        with Image.open(made.folder / row["file_name"]) as image:
            assert image.size == (48, 48)
            assert np.asarray(image.convert("L")).min() < 200


def test_every_box_of_a_sheet_holds_its_figure_and_no_caption(tmp_path):
    made = generate(tmp_path / "set", designs=2, seed=2, views=6, sheets=True)
    rows = rows_of(made.folder)
    assert len(rows) == made.figures == 12 and made.files < 12
    sheets: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        sheets.setdefault(row["file_name"], []).append(row)
    for name, figures in sheets.items():
        assert 1 <= len(figures) <= 3
        with Image.open(made.folder / name) as image:
            assert image.mode == "1" and image.size == (1200, 1600)
            ink = ~np.asarray(image)
        for figure in figures:
            x0, y0, x1, y1 = map(int, figure["box"].split())
            assert 0 < x0 < x1 < 1200 and 0 < y0 < y1 < 1600
            edges = (ink[y0, x0:x1], ink[y1 - 1, x0:x1], ink[y0:y1, x0], ink[y0:y1, x1 - 1])
            assert all(edge.any() for edge in edges)
            assert not ink[y1 : y1 + 10, x0:x1].any(), "white between a figure and its caption"
            assert ink[y1 : y1 + 90].any(), "a caption below the figure"
            ink[y0:y1, x0:x1] = False
        captions = np.flatnonzero(ink.any(1))
        lines = 1 + (np.diff(captions) > 5).sum()
        assert lines == len(figures), "outside the boxes there are only captions"


def test_small_sets_have_subclasses_with_more_than_one_design():
    keys = [place_of(number)[0] for number in range(10)]
    subclasses = [key.split("/")[0] for key in keys]
    assert all(subclasses.count(code) == 2 for code in subclasses)


def test_a_large_set_is_spread_evenly_and_no_design_comes_twice():
    total = 2 * len({family.locarno for family in FAMILIES.values()}) * 5
    places = [place_of(number) for number in range(total)]
    assert len({(key, index) for key, index, _ in places}) == total
    numbers = [(key.split("/")[0], number) for key, _, number in places]
    assert len(set(numbers)) == total
    assert {key for key, _, _ in places} == set(FAMILIES)
    assert max(number for _, number in numbers) == 9


def test_some_families_alone_are_the_same_designs_under_the_same_numbers(tmp_path):
    held = ["chair", "06-01/stool", "boot"]
    generate(tmp_path / "all", designs=8, seed=3, views=1, size=32)
    generate(tmp_path / "some", designs=4, seed=3, views=1, size=32, families=held)
    generate(tmp_path / "rest", designs=8, seed=3, views=1, size=32, without=held)
    numbers = {
        part: {row["design"] for row in rows_of(tmp_path / part)} for part in ("some", "rest")
    }
    assert len(numbers["some"]) == 4 and not numbers["some"] & numbers["rest"]
    titles = {row["title"] for row in rows_of(tmp_path / "some")}
    assert titles == {"Boot", "Chair", "Stool"}
    assert not titles & {row["title"] for row in rows_of(tmp_path / "rest")}
    files = {row["file_name"] for row in rows_of(tmp_path / "all")}
    common = files & {row["file_name"] for row in rows_of(tmp_path / "some")}
    assert common
    for name in common:
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "some" / name).read_bytes()


def test_any_choice_of_families_gives_every_design_a_number_of_its_own():
    chosen = chosen_families(without=["stool", "chair", "pen"])
    total = 2 * len({FAMILIES[key].locarno for key in chosen}) * 5
    places = [place_of(number, chosen) for number in range(total)]
    assert {key for key, _, _ in places} == set(chosen)
    assert len({(key.split("/")[0], number) for key, _, number in places}) == total
    every = {place_of(number) for number in range(2 * len(FAMILIES) * 20)}
    assert set(places) <= every


def test_a_wrong_family_is_an_error_that_lists_them():
    for wrong in ({"only": ["chiar"]}, {"without": ["chiar"]}):
        with pytest.raises(ConfigError, match="no family 'chiar'") as caught:
            chosen_families(**wrong)
        assert "chair, stool" in caught.value.hint
    with pytest.raises(ConfigError, match="no family is left"):
        chosen_families(["chair"], ["chair"])


def test_the_command_line_takes_several_families_at_once(tmp_path, capsys, monkeypatch):
    def call(*options):
        words = ["data", "synth", str(tmp_path / "set"), "--designs=4", "--views=1", "--size=64"]
        monkeypatch.setattr(sys, "argv", ["edge-ret", *words, *options])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    code, said = call("--families", "chiar")
    assert code == 1 and "no family 'chiar'" in said and "chair, stool" in said
    assert not (tmp_path / "set").exists()
    code, said = call("--families", "chair, stool", "--families", "boot", "--without", "boot")
    assert code == 0
    assert {row["title"] for row in rows_of(tmp_path / "set")} == {"Chair", "Stool"}


def test_the_last_part_of_a_key_names_one_family_alone():
    assert len({key.partition("/")[2] for key in FAMILIES}) == len(FAMILIES)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("all I have")
    with pytest.raises(ConfigError, match="not empty") as caught:
        generate(tmp_path, designs=1, seed=0)
    assert "new folder" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "wrong",
    [{"designs": 0}, {"views": 0}, {"views": 9}, {"size": 8}, {"workers": 0}, {"restyled": 2.0}],
)
def test_a_number_out_of_range_is_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ConfigError):
        generate(tmp_path / "set", **({"designs": 1, "seed": 0} | wrong))
    assert not (tmp_path / "set").exists()


def test_a_restyled_set_shows_the_same_designs_in_other_hands(tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    generate(plain, designs=1, seed=0, views=2, size=64)
    generate(other, designs=1, seed=0, views=2, size=64, restyled=1.0)
    assert rows_of(plain) == rows_of(other)
    differs = [
        (plain / row["file_name"]).read_bytes() != (other / row["file_name"]).read_bytes()
        for row in rows_of(plain)
    ]
    assert any(differs)


def test_an_unfinished_set_has_no_table(tmp_path):
    class Stop(Exception):
        pass

    def stop_after_one(items, description, total=None):
        for number, item in enumerate(items):
            if number:
                raise Stop
            yield item

    with pytest.raises(Stop):
        generate(tmp_path / "set", designs=3, seed=0, views=1, size=32, track=stop_after_one)
    assert not (tmp_path / "set" / "metadata.csv").exists()


def test_a_contact_sheet_has_a_row_a_family_and_a_column_a_view(tmp_path):
    path = contact_sheet(
        tmp_path / "look.png", families=["07-01/bowl", "08-06/knob"], views=VIEWS[:3], size=64
    )
    with Image.open(path) as image:
        assert image.size == (3 * 64, 2 * (64 + 16))


def test_made_sheets_are_read_by_the_table_source(tmp_path):
    from edge_retrieval.sources import Design, open_source

    made = generate(tmp_path / "set", designs=2, seed=1, views=4, sheets=True)
    designs = [design for design in open_source(made.folder) if isinstance(design, Design)]
    assert [design.number for design in designs] == ["MADE-0203-00000", "MADE-0203-00001"]
    assert [design.labels for design in designs] == [("02", "02-03")] * 2
    for design in designs:
        assert sum(len(sheet.boxes or ()) for sheet in design.sheets) == 4


def test_without_the_train_extra_the_error_says_how_to_install_it():
    code = (
        "import sys; sys.modules['manifold3d'] = None\n"
        "from edge_retrieval.errors import MissingExtraError\n"
        "try:\n    import distill.synthetic\n"
        "except MissingExtraError as error:\n    print(error, '|', error.hint)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.startswith("making drawings needs the optional 'train' dependencies | pip")
