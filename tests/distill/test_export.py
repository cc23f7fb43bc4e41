"""A run becomes bundles that open; INT8 only where it finds what FP32 finds."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import nn

from distill import trials
from distill.bundles import winners
from distill.candidates import Candidate, Workshop
from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.drawing_cache import CutDesign, write_cut
from distill.export import ExportResult, ExportSettings, export_run
from distill.model import TorchEncoder, load_student, make_student
from distill.trials import Limits
from edge_retrieval import cli
from edge_retrieval.bundle import Bundle
from edge_retrieval.cli.exporting import seconds_of
from edge_retrieval.drawing import Preprocessing, fit, fit_batch
from edge_retrieval.encoder import embed_figures, golden_check, load_encoder
from edge_retrieval.errors import BundleError, ConfigError, MissingExtraError

CONFIG = TrainConfig(backbone="test_efficientnet", size=32, dim=8, held_out=0.2, prefixes=(8, 4))
ANY = Limits(max_drop=1.0, min_overlap=0.0, budget=0.1)
"""Lets everything pass, and tries one candidate a format."""
NONE = Limits(max_drop=0.0, min_overlap=1.0, budget=0.1)
"""Lets hardly anything pass."""


def write_cache(folder: Path, designs: int, label: str, seed: int) -> None:
    """Write what the trainer keeps of a source: two figures a design, cut and fitted."""
    rng = np.random.default_rng(seed)
    cut = []
    for number in range(designs):
        pairs = []
        for _ in range(2):
            page = Image.new("L", (90, 60), 255)
            points = [(float(x), float(y)) for x, y in rng.integers(0, 60, (6, 2))]
            ImageDraw.Draw(page).line([(0.0, 0.0), *points, (89.0, 59.0)], fill=0, width=4)
            plain = Preprocessing(size=CONFIG.size, mean=0.0, std=1.0)
            square = np.rint(fit(np.asarray(page), plain)[0] * 255).astype(np.uint8)
            pairs.append((square, square))
        labels = (label, f"{label}-0{number % 3 + 1}")
        cut.append((CutDesign(f"{label}{seed}{number:04d}", labels, "here", len(pairs)), pairs))
    write_cut(folder, cut, (CONFIG.size, CONFIG.size))


def make_run(folder: Path, designs: int = 60) -> Path:
    """Write a run folder as the trainer leaves it, with weights that nobody trained."""
    write_cache(folder / "cache" / "a", designs, "06", 1)
    write_cache(folder / "cache" / "b", designs // 3, "07", 2)
    CONFIG.save(folder / "config.toml")
    student = make_student(CONFIG)
    images = CutDrawings.read(folder, CONFIG).images(np.arange(min(64, 2 * designs)))
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = None
    with torch.no_grad():
        student.train()(torch.from_numpy(images))
    save_file(student.state_dict(), folder / "best.safetensors")
    (folder / "provenance.json").write_text('{"sources": ["a", "b"], "versions": {}}', "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    settings = ExportSettings(int8=True, fp16=True, limits=ANY)
    return export_run(run, tmp_path_factory.mktemp("out"), settings, name="made")


def test_a_run_becomes_bundles_of_every_precision_and_format(exported: ExportResult) -> None:
    bundles = {bundle.folder.name: Bundle.open(bundle.folder) for bundle in exported.bundles}
    assert {name: (b.precision, b.format) for name, b in bundles.items()} == {
        "made-fp32": ("fp32", "onnx"),
        "made-fp32-openvino": ("fp32", "openvino"),
        "made-fp16": ("fp16", "onnx"),
        "made-fp16-openvino": ("fp16", "openvino"),
        "made-int8": ("int8", "onnx"),
        "made-int8-openvino": ("int8", "openvino"),
    }
    assert len({bundle.fingerprint for bundle in bundles.values()}) == len(bundles)
    out = exported.bundles[0].folder.parent
    pages = {"made-int8-flips.html", "made-int8-openvino-flips.html"}
    assert {path.name for path in out.iterdir()} == {*bundles, *pages, "made-export.json"}


def test_golden_drawings_hold_on_the_machine_that_exported(exported: ExportResult) -> None:
    for bundle in exported.bundles:
        found = golden_check(bundle, load_encoder(bundle, threads=1))
        assert bundle.golden_tolerance < found <= 1.0 + 1e-6
        assert np.array_equal(bundle.golden().images, exported.bundles[0].golden().images)
    assert exported.bundles[0].golden_tolerance > 0.998


def test_a_bundle_names_the_first_numbers_that_were_trained_to_stand_alone(
    exported: ExportResult,
) -> None:
    for bundle in exported.bundles:
        assert bundle.prefixes == (4,)
        assert load_encoder(bundle, dim=4, threads=1).dim == 4


def test_golden_embeddings_are_those_of_torch(exported: ExportResult, run: Path) -> None:
    student, config = load_student(run)
    golden = exported.bundles[-1].golden()
    preprocessing = Preprocessing(size=config.size)
    expected = TorchEncoder(student, preprocessing).embed(
        fit_batch(list(golden.images), preprocessing)
    )
    assert np.allclose(golden.embeddings, expected, atol=1e-6)


def test_a_bundle_tells_how_it_was_made_and_what_the_gate_measured(
    exported: ExportResult, run: Path
) -> None:
    told = {bundle.folder.name: bundle.provenance for bundle in exported.bundles}
    assert told["made-fp32"]["config"]["backbone"] == "test_efficientnet"
    assert told["made-fp32"]["training"]["sources"] == ["a", "b"]
    assert told["made-fp32"]["export"]["parity"] == exported.parity < 1e-5
    int8 = told["made-int8"]["export"]
    assert int8["candidate"] == exported.trials["onnx"][0].candidate.name
    assert int8["calibration_figures"] >= 100
    assert "torch" in int8["versions"]
    table = {(row["name"], row["backend"]): row for row in int8["gate"]["table"]}
    assert ("made-int8", "onnx") in table and ("made-int8", "openvino") in table
    assert table["made-fp32", "onnx"]["quality"]["overlap"] > 0.99
    assert table["made-int8", "onnx"]["median_seconds_1"] > 0
    for bundle in exported.bundles:
        assert str(run) not in (bundle.folder / "bundle.json").read_text("utf-8")


def test_all_samples_are_kept_beside_the_bundles(exported: ExportResult) -> None:
    file = exported.bundles[0].folder.parent / "made-export.json"
    told = json.loads(file.read_text("utf-8"))
    assert all(len(row["seconds_1"]) >= 10 for row in told["finalists"])
    assert told["best"]["bundle"].startswith("made-")


def test_an_export_again_replaces_the_bundles_with_the_same(
    exported: ExportResult, run: Path
) -> None:
    out = exported.bundles[0].folder.parent
    again = export_run(run, out, ExportSettings(formats=("onnx",)), name="made")
    assert again.finalists == () and again.best is None
    assert [bundle.fingerprint for bundle in again.bundles] == [exported.bundles[0].fingerprint]
    assert again.stale == ()
    int8 = next(b for b in exported.bundles if b.folder.name == "made-int8")
    assert Bundle.open(out / "made-int8").fingerprint == int8.fingerprint


def test_int8_of_other_weights_that_stays_behind_is_named(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    settings = ExportSettings(formats=("onnx",), int8=True, limits=ANY)
    export_run(run, tmp_path / "out", settings, name="made")
    save_file(make_student(replace(CONFIG, seed=7)).state_dict(), other / "best.safetensors")
    result = export_run(other, tmp_path / "out", ExportSettings(formats=("onnx",)), name="made")
    assert result.stale == (tmp_path / "out" / "made-int8",)


def test_int8_embeds_figures_much_like_fp32(exported: ExportResult, run: Path) -> None:
    figures = list(CutDrawings.read(run, CONFIG).squares[:20])
    rows = {
        bundle.folder.name: embed_figures(load_encoder(bundle, threads=1), figures)
        for bundle in exported.bundles
    }
    for name in ("made-int8", "made-int8-openvino"):
        assert (rows["made-fp32"] * rows[name]).sum(axis=1).mean() > 0.5
    for name in ("made-fp16", "made-fp16-openvino", "made-fp32-openvino"):
        assert np.allclose(rows["made-fp32"], rows[name], atol=0.02)


def test_int8_that_finds_other_neighbours_is_not_written(run: Path, tmp_path: Path) -> None:
    settings = ExportSettings(formats=("onnx",), int8=True, limits=NONE)
    result = export_run(run, tmp_path / "out", settings, name="made")
    assert [bundle.precision for bundle in result.bundles] == ["fp32"]
    assert "overlap" in result.refused["onnx"]
    assert not (tmp_path / "out" / "made-int8").exists()
    assert result.best is not None and result.best.precision == "fp32"
    assert result.why == "no INT8 passes the gate"


def test_int8_of_an_earlier_export_that_is_refused_now_is_named(run: Path, tmp_path: Path) -> None:
    settings = ExportSettings(formats=("onnx",), int8=True, limits=ANY)
    assert export_run(run, tmp_path / "out", settings, name="made").stale == ()
    result = export_run(run, tmp_path / "out", replace(settings, limits=NONE), name="made")
    assert result.stale == (tmp_path / "out" / "made-int8",)


def test_every_speed_is_against_the_fastest_fp32(exported: ExportResult) -> None:
    medians = {
        (one.row.name, one.row.backend): np.median(one.row.seconds_1)
        for one in exported.finalists
        if one.precision == "fp32"
    }
    for one in exported.finalists:
        assert np.median(one.row.fp32_seconds_1) == min(medians.values())


def test_a_network_to_which_all_drawings_are_alike_is_warned_of(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    settings = ExportSettings(formats=("onnx",))
    export_run(run, tmp_path / "out", settings, name="made", tell=said.append)
    assert not any("hardly differ" in line for line in said)
    monkeypatch.setattr("distill.export.ALIKE", -1.0)
    export_run(run, tmp_path / "out", settings, name="made", tell=said.append)
    assert any("hardly differ" in line for line in said)


def test_a_candidate_that_a_tool_cannot_make_is_listed_and_the_others_go_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], Workshop.build

    def build(self: Workshop, candidate: Candidate) -> Path:
        made.append(candidate)
        if len(made) == 1:
            raise RuntimeError("no kernel for Oddity")  # as the tools do: no error of ours
        return real(self, candidate)

    monkeypatch.setattr(Workshop, "build", build)
    limits = replace(ANY, budget=600.0)
    monkeypatch.setattr(trials, "candidates", lambda *a, **k: real_candidates(*a, **k)[:2])
    settings = ExportSettings(formats=("onnx",), int8=True, limits=limits)
    result = export_run(run, tmp_path / "out", settings, name="made")
    failed, other = result.trials["onnx"]
    assert failed.row.failed is not None and "no kernel for Oddity" in failed.row.failed
    assert other.refused is None
    assert (tmp_path / "out" / "made-int8" / "bundle.json").is_file()


real_candidates = trials.candidates


def test_a_network_is_trained_for_quantization_only_where_nothing_passes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def trained(student: object, *_: object, **__: object) -> object:
        asked.append("trained")
        return student

    monkeypatch.setattr("distill.export.quantization_aware", trained)
    settings = ExportSettings(formats=("onnx",), int8=True, qat=True, limits=ANY)
    assert export_run(run, tmp_path / "out", settings, name="made").refused == {}
    assert asked == []
    result = export_run(run, tmp_path / "out", replace(settings, limits=NONE), name="made")
    assert asked == ["trained"]
    assert any(trial.candidate.name.startswith("QAT + ") for trial in result.trials["onnx"])


@pytest.mark.parametrize("moment", ["measure_finalists", "write_flips"])
def test_an_interrupted_export_leaves_whole_bundles_or_none(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"distill.export.{moment}", stop)
    with pytest.raises(KeyboardInterrupt):
        settings = ExportSettings(formats=("onnx",), int8=True, limits=ANY)
        export_run(run, tmp_path / "out", settings, name="made")
    left = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    for folder in left:
        bundle = Bundle.open(folder)
        assert bundle.golden_tolerance > 0
        assert golden_check(bundle, load_encoder(bundle)) >= bundle.golden_tolerance
    if moment == "measure_finalists":
        assert left == []


def test_what_won_before_comes_first(exported: ExportResult) -> None:
    out = exported.bundles[0].folder.parent
    names = {own[0].candidate.name for own in exported.trials.values()}
    assert set(winners(out)) == names
    assert winners(out / "nowhere") == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("a file")
    monkeypatch.setattr("distill.export.export_fp32", None)
    with pytest.raises(BundleError, match="bundles cannot be written here") as caught:
        export_run(run, tmp_path / "out", ExportSettings(), name="made")
    assert "-o" in caught.value.hint


def test_what_is_no_bundle_is_not_replaced_and_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "made-fp32").mkdir(parents=True)
    monkeypatch.setattr("distill.export.export_fp32", None)
    with pytest.raises(BundleError, match="made-fp32 is there and is no bundle"):
        export_run(run, tmp_path / "out", ExportSettings(), name="made")


def test_a_training_for_int8_that_fails_costs_nothing_else(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BundleError("it diverged", hint="none")

    monkeypatch.setattr("distill.export.quantization_aware", fails)
    settings = ExportSettings(formats=("onnx",), int8=True, qat=True, limits=NONE)
    said: list[str] = []
    result = export_run(run, tmp_path / "out", settings, name="made", tell=said.append)
    assert [bundle.precision for bundle in result.bundles] == ["fp32"]
    assert any("it diverged" in line for line in said)


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml"):
        export_run(tmp_path, tmp_path / "out", ExportSettings(), name="made")
    with pytest.raises(ConfigError, match="no name for a folder"):
        export_run(tmp_path, tmp_path / "out", ExportSettings(), name="../made")
    assert not (tmp_path / "out").exists()


def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no format 'tflite'"):
        ExportSettings(formats=("tflite",))
    with pytest.raises(ConfigError, match="--qat without --int8"):
        ExportSettings(qat=True)
    monkeypatch.setattr("distill.export.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="export"):
        ExportSettings(formats=("openvino",))


def test_a_run_with_too_few_drawings_says_so_and_one_with_few_is_warned_of(tmp_path: Path) -> None:
    few = make_run(tmp_path / "few", designs=20)
    with pytest.raises(ConfigError, match="too few to calibrate"):
        export_run(few, tmp_path / "out", ExportSettings(int8=True), name="made")
    assert not (tmp_path / "out").exists()
    said: list[str] = []
    enough = make_run(tmp_path / "enough", designs=70)
    settings = ExportSettings(formats=("onnx",), int8=True, limits=ANY)
    export_run(enough, tmp_path / "out", settings, name="made", tell=said.append)
    assert any("drawings calibrate INT8" in line for line in said)


def test_a_run_without_its_drawings_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", designs=20)
    shutil.rmtree(run / "cache")
    with pytest.raises(ConfigError, match="no cut drawings") as caught:
        export_run(run, tmp_path / "out", ExportSettings(), name="made")
    assert "edge-ret train --resume" in caught.value.hint
    assert not (tmp_path / "out").exists()


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: object) -> Any:
    """Call `edge-ret export ARGS`; return exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["edge-ret", "export", *map(str, args)])
    capsys.readouterr()
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_line_shows_a_table_and_what_to_use(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--max-drop", 1, "--min-overlap", 0, "--budget", "0.1s", "--name", "made")
    code, out, err = call(
        capsys, monkeypatch, run, "--int8", "--format", "onnx", *options, "-o", tmp_path / "out"
    )
    assert code == 0
    assert "INT8 ONNX" in out and "best here: made-int8 on " in out and "\nwhy: " in out
    assert "passes" in err and f"--bundle {tmp_path / 'out' / 'made-int8'}" in err
    code, out, _ = call(
        capsys, monkeypatch, run, "--format", "onnx", "--json", "-o", tmp_path / "out"
    )
    assert code == 0
    assert [Path(p).name for p in json.loads(out)["bundles"]] == [f"{run.name}-fp32"]


def test_the_command_line_ends_with_an_error_where_no_int8_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--max-drop", 0, "--min-overlap", 1, "--budget", "0.1s", "--name", "made")
    code, out, err = call(
        capsys, monkeypatch, run, "--int8", "--format", "onnx", *options, "-o", tmp_path / "out"
    )
    assert code == 1
    assert "best here: made-fp32" in out
    assert "error: no INT8 network keeps what FP32 finds" in err and "--qat" in err


def test_one_format_without_int8_is_told_and_ends_with_3(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workshop.build

    def build(self: Workshop, candidate: Candidate) -> Path:
        if candidate.format == "openvino":
            raise BundleError("no kernel", hint="none")
        return real(self, candidate)

    monkeypatch.setattr(Workshop, "build", build)
    options = ("--max-drop", 1, "--min-overlap", 0, "--budget", "0.1s", "--name", "made")
    code, _, err = call(capsys, monkeypatch, run, "--int8", *options, "-o", tmp_path / "out")
    assert code == 3
    assert "no INT8 bundle for OpenVINO" in err and "no kernel" in err
    assert (tmp_path / "out" / "made-int8").is_dir()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0)]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "ten", "-1m", "0", "nan", "inf", "1d"])
def test_a_budget_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        seconds_of(text)
