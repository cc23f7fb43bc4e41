"""The bill of materials: what CycloneDX asks for, and the same bytes for the same installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_retrieval.licences import BASE, inventory
from edge_retrieval.provenance import sha256_of
from edge_retrieval.requirements import normal

ROOT = Path(__file__).parents[1]


def written(*words: str, **more: str) -> bytes:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sbom"), *words],
        capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1796000000", **more},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def text() -> bytes:
    return written()


@pytest.fixture(scope="module")
def bill(text: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(text)
    return read


def test_it_is_valid_by_the_schema(text: bytes) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    found = validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text.decode())
    assert found is None, found


def test_every_reference_leads_to_one_component(bill: dict[str, Any]) -> None:
    refs = [one["bom-ref"] for one in bill["components"]]
    refs.append(bill["metadata"]["component"]["bom-ref"])
    assert len(refs) == len(set(refs))
    told = [one["ref"] for one in bill["dependencies"]]
    assert sorted(told) == sorted(refs)
    assert {need for one in bill["dependencies"] for need in one.get("dependsOn", [])} <= set(refs)


def test_it_holds_what_is_installed_and_no_more(bill: dict[str, Any]) -> None:
    libraries = {normal(one["name"]) for one in bill["components"] if one["type"] == "library"}
    assert libraries == {normal(one.name) for one in inventory().distributions}
    assert all(one["purl"] == one["bom-ref"] for one in bill["components"] if "purl" in one)


def test_of_the_base_install_it_holds_the_base_install(bill: dict[str, Any]) -> None:
    base = json.loads(written("--parts", BASE))
    libraries = [one for one in base["components"] if one["type"] == "library"]
    assert {one["scope"] for one in libraries} == {"required"}
    names = {normal(one["name"]) for one in libraries}
    assert {"numpy", "rich"} <= names
    assert "torch" not in names
    assert base["serialNumber"] != bill["serialNumber"]


def test_the_encoder_is_there_with_the_hash_of_each_file(bill: dict[str, Any]) -> None:
    [model] = [one for one in bill["components"] if one["type"] == "machine-learning-model"]
    assert "CC BY 2.0" in model["description"]
    found = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert found["model.onnx"] == sha256_of(ROOT / "models" / "small" / "model.onnx")
    assert set(found) == {"bundle.json", "golden.npz", "model.onnx"}


def test_the_same_installation_gives_the_same_bytes(text: bytes) -> None:
    assert written(PYTHONHASHSEED="7") == text
    assert json.loads(text)["metadata"]["timestamp"] == "2026-11-30T00:53:20Z"


def test_archives_that_pip_wrote_down_have_their_hashes(tmp_path: Path) -> None:
    rich = next(one for one in inventory().distributions if one.name == "rich")
    report = {
        "install": [
            {
                "metadata": {"name": "Rich", "version": rich.version},
                "download_info": {"archive_info": {"hashes": {"sha256": "ab" * 32}}},
            },
            {"metadata": {"name": "local", "version": "1"}, "download_info": {"dir_info": {}}},
        ]
    }
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    told = json.loads(written("--report", str(tmp_path / "report.json")))
    hashed = [
        one["name"] for one in told["components"] if one["type"] == "library" and "hashes" in one
    ]
    assert hashed == ["rich"]


def test_a_part_that_is_not_installed_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sbom"), "--parts", "nonsense"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "sbom: not installed: nonsense"
