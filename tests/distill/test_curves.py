"""The picture of a training: it shows what is there, whatever is missing."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distill.curves import _best, draw_curves, figure_of, read_metrics, write_picture
from edge_retrieval.errors import ConfigError, MissingExtraError

pytest.importorskip("matplotlib")

FULL = """epoch,step,loss,lr,figures_per_s,H-AP,mAP,mAP a b class,mAP a b design,mAP other design
1,10,4.5,0.001,900,,,,,
2,20,3.5,0.002,910,0.31,0.42,0.2,0.4,0.44
3,30,3.0,0.001,905,0.35,0.47,0.25,0.45,0.49
4,40,2.9,0,905,0.33,0.48,0.24,0.44,0.52
"""


def metrics(folder: Path, text: str = FULL) -> Path:
    file = folder / "metrics.csv"
    file.write_text(text, encoding="utf-8")
    return file


def drawn(folder: Path, text: str = FULL) -> Any:
    return figure_of(read_metrics(metrics(folder, text)), "runs/first")


def panels(figure: Any) -> dict[str, Any]:
    """Title -> axes, those of the learning rate without one left out."""
    titled = {axes.get_title(loc="left"): axes for axes in figure.get_axes()}
    return {title: axes for title, axes in titled.items() if title}


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def is_picture(file: Path) -> bool:
    with Image.open(file) as image:
        return image.format == "PNG" and len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_picture_is_a_png_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "curves.png"
    draw_curves(metrics(tmp_path), out)
    assert is_picture(out)
    draw_curves(metrics(tmp_path), out)
    assert [path.name for path in out.parent.iterdir()] == ["curves.png"]


def test_epochs_without_validation_leave_no_hole_in_the_curve(tmp_path: Path) -> None:
    validation = panels(drawn(tmp_path))["Validation"]
    lines = {line.get_label(): line.get_xydata().tolist() for line in validation.lines}
    assert lines["H-AP"] == [[20, 0.31], [30, 0.35], [40, 0.33]]
    assert lines["mAP, design"] == [[20, 0.42], [30, 0.47], [40, 0.48]]


def test_the_best_point_of_each_measure_is_marked_with_its_value(tmp_path: Path) -> None:
    validation = panels(drawn(tmp_path))["Validation"]
    assert texts(validation) == ["best 0.350", "best 0.480"]
    assert [tuple(text.xy) for text in validation.texts] == [(30, 0.35), (40, 0.48)]


def test_each_scheme_has_a_panel_with_its_levels_the_design_first(tmp_path: Path) -> None:
    found = panels(drawn(tmp_path))
    assert set(found) == {"Loss", "Validation", "a b", "other"}
    lines = [line.get_label() for line in found["a b"].lines]
    assert lines[:2] == ["design", "class"]
    assert texts(found["a b"]) == ["best 0.450"]
    assert texts(found["other"]) == ["best 0.520"]


def test_every_panel_has_a_title_and_says_its_units(tmp_path: Path) -> None:
    figure = drawn(tmp_path)
    for title, axes in panels(figure).items():
        assert axes.get_xlabel() == "optimizer step", title
        assert axes.get_ylabel(), title
    assert "learning rate" in [axes.get_ylabel() for axes in figure.get_axes()]


def test_the_steps_run_alike_in_all_panels(tmp_path: Path) -> None:
    ranges = {axes.get_xlim() for axes in drawn(tmp_path).get_axes()}
    assert len(ranges) == 1


def test_legends_stand_outside_the_panels(tmp_path: Path) -> None:
    figure = drawn(tmp_path)
    figure.draw_without_rendering()
    for title in ("Loss", "Validation"):
        axes = panels(figure)[title]
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1 - 1
        assert legend.x0 >= axes.title.get_window_extent().x0


@pytest.mark.parametrize(
    "text",
    [
        "epoch,step,loss,lr,figures_per_s\n1,10,4.5,0.001,900\n",
        "epoch,step,loss,lr,figures_per_s,H-AP,mAP,mAP x design\n1,10,4.5,0.001,900,0.1,0.2,0.2\n",
        "epoch,step,loss\n1,10,4.5\n2,20,4.1\n",
        "epoch,step,loss,lr,H-AP,mAP\n1,10,nan,nan,nan,nan\n2,20,inf,1e-3,0.2,nan\n",
        "epoch,step,loss,lr,mAP\n1,10,2,1e-3,0.1\n2,20,1,1e-3\n",  # a row cut short
        "epoch,step,loss,lr,mAP\n1,0,2,0,0\n",
        "epoch,step,loss,lr,mAP 名前 $x_$ design\n1,10,2,1e-3,0.5\n",
        "epoch,step,loss,lr,mAP _hidden design\n1,10,2,1e-3,0.5\n",
    ],
    ids=["no validation", "one row", "few columns", "nan", "short row", "zeros", "odd", "hidden"],
)
def test_whatever_is_missing_there_is_a_picture(tmp_path: Path, text: str) -> None:
    draw_curves(metrics(tmp_path, text), tmp_path / "c.png")
    assert is_picture(tmp_path / "c.png")


def test_a_long_training_of_many_schemes_is_drawn(tmp_path: Path) -> None:
    names = [
        f"mAP {'long name ' * 6}{n} {level}" for n in range(5) for level in ("class", "design")
    ]
    rows = [f"{n},{n * 10},{1 / n},0.1" + ",0.5" * len(names) for n in range(1, 200)]
    text = "\n".join([",".join(["epoch", "step", "loss", "lr", *names]), *rows])
    figure = drawn(tmp_path, text)
    assert len(panels(figure)) == 2 + 5
    assert all(len(title) <= 30 for title in panels(figure))


def test_nothing_of_pyplot_is_touched(tmp_path: Path) -> None:
    import matplotlib
    from matplotlib._pylab_helpers import Gcf

    before = dict(matplotlib.rcParams)
    draw_curves(metrics(tmp_path), tmp_path / "c.png")
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.figs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no columns step and loss"),
        ("a,b\n1,2\n", "no columns step and loss"),
        ("epoch,step,loss\n", "no epoch is in it yet"),
        ("epoch,step,loss\n1,2,three\n", "three"),
        ("epoch,step,loss\n1,2,3,4,5\n", "more cells than columns"),
    ],
)
def test_another_kind_of_file_is_an_error_with_a_hint(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        draw_curves(metrics(tmp_path, text), tmp_path / "c.png")
    assert caught.value.hint
    assert not (tmp_path / "c.png").exists()


def test_files_that_cannot_be_read_or_written_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        draw_curves(tmp_path / "none.csv", tmp_path / "c.png")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text"):
        draw_curves(tmp_path / "binary.csv", tmp_path / "c.png")
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "c.png"):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_picture(out, b"a picture")
    assert not [path for path in tmp_path.rglob("*.partial")]


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return genuine(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="drawing curves needs the optional 'train'"):
        draw_curves(metrics(tmp_path), tmp_path / "c.png")


def test_the_best_is_the_first_of_the_greatest_finite_numbers() -> None:
    assert _best([float("nan"), 0.1, 0.3, float("inf"), 0.3]) == 2
    assert _best([float("nan")]) == -1
    assert _best([]) == -1
