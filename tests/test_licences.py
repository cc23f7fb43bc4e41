"""What is installed because of us, under which licence: found without `packaging`, and the same."""

from __future__ import annotations

import json
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.requirements import Requirement

from edge_retrieval import cli, licences
from edge_retrieval.bundle import Bundle
from edge_retrieval.licences import BASE, Inventory, inventory, licence_of, notices
from edge_retrieval.requirements import applies, environment, normal, parse_requirement
from tests import fakes

ROOT = Path(__file__).parents[1]

# ------------------------------------------------------------------ requirements, formula twice

REQUIREMENTS = sorted(
    {line for one in metadata.distributions() for line in one.requires or () if "@" not in line}
)


def test_requirements_of_all_that_is_installed_are_read_as_packaging_reads_them() -> None:
    assert len(REQUIREMENTS) > 50
    for line in REQUIREMENTS:
        one, other = parse_requirement(line), Requirement(line)
        assert one.name == normal(other.name)
        assert set(one.extras) == set(map(normal, other.extras))
        assert bool(one.marker) == (other.marker is not None)


@pytest.mark.parametrize("extras", [(), ("web",), ("all", "dev", "test")])
def test_markers_of_all_that_is_installed_hold_as_packaging_says(extras: tuple[str, ...]) -> None:
    here = environment()
    for line in REQUIREMENTS:
        marker = Requirement(line).marker
        if marker is None:
            continue
        wanted = any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        assert applies(str(marker), extras, here) == wanted, line


NAMES = st.sampled_from(["python_version", "sys_platform", "platform_machine", "extra"])
VALUES = st.sampled_from(["3.9", "3.10", "3.11", "3.13", "linux", "win32", "aarch64", "web", "dev"])
CLAUSES = st.builds("{} {} '{}'".format, NAMES, st.sampled_from(["==", "!="]), VALUES) | st.builds(
    "python_version {} '{}'".format,
    st.sampled_from(["<", "<=", ">", ">="]),
    st.sampled_from(["3.9", "3.10", "3.13"]),
)
MARKERS = st.recursive(
    CLAUSES,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
)


@given(MARKERS, st.sampled_from(["3.9", "3.10", "3.12"]))
def test_any_marker_holds_as_packaging_says(marker: str, version: str) -> None:
    here = {**environment(), "python_version": version}
    wanted = Marker(marker).evaluate({**here, "extra": ""})
    assert applies(marker, (), here) == wanted


def test_a_marker_of_another_form_counts_rather_than_not() -> None:
    assert applies("python_version ~= '3.11'", (), environment())


def test_what_is_no_requirement_is_refused() -> None:
    with pytest.raises(ValueError, match="no requirement"):
        parse_requirement("; python_version < '3'")


# ------------------------------------------------------------------ licences


def told(**fields: str | list[str]) -> Message:
    """Return metadata as a distribution has them."""
    message = Message()
    for name, value in fields.items():
        for one in [value] if isinstance(value, str) else value:
            message[name.replace("_", "-")] = one
    return message


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT", "License": "another"}, ("MIT", "License-Expression")),
        ({"License": "BSD"}, ("BSD", "License")),
        (
            {"License": "UNKNOWN", "Classifier": ["License :: OSI Approved :: MIT License"]},
            ("MIT License", "Classifier"),
        ),
        ({"License": "Apache License\nVersion 2.0\n..."}, ("Apache License", "License")),
        ({"Classifier": ["License :: OSI Approved"]}, ("not told", "")),
        ({}, ("not told", "")),
    ],
)
def test_a_licence_is_what_the_metadata_tell(
    fields: dict[str, str | list[str]], licence: tuple[str, str]
) -> None:
    assert licence_of(told(**fields)) == licence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "home"),
    [
        ({"Home_page": "https://a.example"}, "https://a.example"),
        (
            {"Project_URL": ["Changes, https://c.example", "Homepage, https://h.example"]},
            "https://h.example",
        ),
        ({"Home_page": "UNKNOWN", "Project_URL": ["Docs, https://d.example"]}, "https://d.example"),
        ({}, ""),
    ],
)
def test_a_home_page_is_the_best_that_is_named(
    fields: dict[str, str | list[str]], home: str
) -> None:
    assert licences.home_of(told(**fields)) == home  # type: ignore[arg-type]


# ------------------------------------------------------------------ what is installed


@pytest.fixture(scope="module")
def found() -> Inventory:
    return inventory()


def test_the_base_install_and_what_it_needs_is_found(found: Inventory) -> None:
    base = {normal(one.name): one for one in found.distributions if one.parts == (BASE,)}
    assert {"numpy", "pillow", "onnxruntime", "typer", "rich", "shellingham"} <= base.keys()
    assert base["typer"].direct
    assert not base["shellingham"].direct
    assert "shellingham" in base["typer"].needs
    assert not found.missing
    assert "torch" not in base


def test_every_distribution_of_the_base_install_tells_its_licence(found: Inventory) -> None:
    silent = [one.name for one in found.distributions if BASE in one.parts and not one.told_by]
    assert not silent


def test_what_an_extra_brings_is_listed_under_it(found: Inventory) -> None:
    pytest.importorskip("torch")
    assert {"train", "export"} <= set(found.parts)
    by_name = {normal(one.name): one for one in found.distributions}
    assert "train" in by_name["torch"].parts
    assert "export" in by_name["nncf"].parts
    assert "train" not in by_name["nncf"].parts


def test_a_distribution_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = licences._distribution
    monkeypatch.setattr(licences, "_distribution", lambda n: None if n == "rich" else real(n))
    assert inventory().missing == ("rich",)


# ------------------------------------------------------------------ whose the data are


def test_the_encoder_that_ships_names_the_library_that_it_was_trained_on() -> None:
    lines = "\n".join(notices(Bundle.read(ROOT / "models" / "small")))
    for name in ("Apache-2.0", "WIPO", "LDraw Parts Library", "CC BY 2.0"):
        assert name in lines


def test_one_that_was_not_trained_on_it_does_not_and_one_that_is_silent_says_so(
    tmp_path: Path,
) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "bundle")
    assert "not told" in notices(bundle)[-1]
    path = bundle.folder / "bundle.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["provenance"] = {"training": {"sources": ["mine"]}}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    lines = "\n".join(notices(Bundle.open(bundle.folder)))
    assert "trained on mine" in lines
    assert "LDraw" not in lines


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-ret", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_the_command_prints_a_table_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "licences") == 0
    text = capsys.readouterr().out
    assert "onnxruntime" in text
    assert "WIPO" in text
    assert run(monkeypatch, "licences", "--json") == 0
    read = json.loads(capsys.readouterr().out)
    assert read["parts"][0] == BASE
    assert {"name", "version", "licence", "home", "parts"} <= read["distributions"][0].keys()


def test_where_nothing_is_installed_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(root: str = "") -> Inventory:
        raise metadata.PackageNotFoundError(root)

    monkeypatch.setattr(licences, "inventory", none)
    assert run(monkeypatch, "licences") == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert "not installed here" in error
    assert hint.startswith("hint: pip install")
