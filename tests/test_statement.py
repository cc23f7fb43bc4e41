"""Who made a bundle, of what: what is stated is held against the files, wherever they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_retrieval import cli
from edge_retrieval.bundle import Bundle
from edge_retrieval.doctor import examine
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.provenance import sha256_of
from edge_retrieval.statement import (
    NAMESPACE,
    SIGNATURE,
    SIGNED_OFF,
    STATEMENT,
    make_statement,
    read_statement,
    save_statement,
    what_differs,
)
from tests import fakes

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned"
SHIPPED = ROOT / "models" / "small"
ADA = "Ada <ada@example.org>"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fakes.tiny_bundle(tmp_path / "bundle")


def found_by_doctor(folder: Path, statement: Path | None = None) -> tuple[bool | None, str]:
    """Return what doctor says of the statement."""
    found = examine(folder, backends=["onnx"], statement=statement)
    [check] = [check for check in found.checks if check.name == "statement"]
    assert (found.fault is None) == bool(check.good)
    return check.good, check.told


def test_a_statement_lists_every_file_with_its_hash(bundle: Bundle) -> None:
    told = make_statement(bundle)
    found = {one["name"]: one["digest"]["sha256"] for one in told["subject"]}
    files = {name: sha256_of(bundle.folder / name) for name in ("bundle.json", *bundle.files)}
    assert found == files
    assert told["predicate"]["fingerprint"] == bundle.fingerprint


def test_what_the_shipped_bundle_is_made_of_is_listed(tmp_path: Path) -> None:
    recipe = SHIPPED / "recipe.toml"
    told = make_statement(Bundle.open(SHIPPED), recipe=recipe)["predicate"]
    provenance = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))["provenance"]
    assert told["recipe"] == {"name": "recipe.toml", "sha256": sha256_of(recipe)}
    assert told["inputs"]["weights"] == provenance["weights"]
    assert told["inputs"]["training.split"] == provenance["training"]["split"]
    assert told["inputs"]["training.cut.sources[0]"] == provenance["training"]["cut"]["sources"][0]
    assert told["sources"] == provenance["training"]["sources"]
    assert told["versions"]["export"]["onnx"]


def test_the_pinned_statement_is_read_for_ever_and_fits_the_pinned_bundle() -> None:
    read = read_statement(PINNED / "statement-1.json")
    assert (read.by, read.at[:4]) == ("Ada Lovelace <ada@example.org>", "2026")
    assert what_differs(Bundle.open(PINNED / "bundle-2"), read) == ""


def test_the_bundle_that_ships_is_the_one_that_is_stated() -> None:
    """Else: edge-ret attest models/small --recipe models/small/recipe.toml"""
    told = json.loads((SHIPPED / STATEMENT).read_text(encoding="utf-8"))["predicate"]
    assert told["recipe"]["sha256"] == sha256_of(SHIPPED / "recipe.toml")
    assert what_differs(Bundle.open(SHIPPED), read_statement(SHIPPED / STATEMENT)) == ""


def test_a_bundle_without_a_statement_is_as_good_as_before(bundle: Bundle) -> None:
    found = examine(bundle.folder, backends=["onnx"])
    assert found.fault is None
    assert "statement" not in [check.name for check in found.checks]


def test_doctor_names_who_signed_it_off(bundle: Bundle) -> None:
    made = save_statement(bundle, by=ADA)
    assert (
        json.loads(made.path.read_text(encoding="utf-8"))["predicate"]["signed_off"] == SIGNED_OFF
    )
    good, told = found_by_doctor(bundle.folder)
    assert good
    assert ADA in told
    assert sha256_of(made.path)[:12] in told


def test_a_statement_that_nobody_signed_off_says_so(bundle: Bundle) -> None:
    save_statement(bundle)
    assert found_by_doctor(bundle.folder)[1].startswith("signed off by nobody")


def test_a_card_or_provenance_that_was_changed_afterwards_is_found(bundle: Bundle) -> None:
    """The fingerprint covers neither."""
    save_statement(bundle, by=ADA)
    path = bundle.folder / "bundle.json"
    path.write_text(path.read_text(encoding="utf-8").replace("for tests", "of gold"), "utf-8")
    good, told = found_by_doctor(bundle.folder)
    assert good is False
    assert "bundle.json: not as it was stated" in told


def test_a_statement_fits_the_copy_in_a_register_and_no_other_bundle(
    bundle: Bundle, tmp_path: Path
) -> None:
    made = save_statement(bundle, by=ADA)
    copy = bundle.copy_to(tmp_path / "copy")
    assert not (copy.folder / STATEMENT).exists()
    assert found_by_doctor(copy.folder, made.path)[0]
    other = fakes.tiny_bundle(tmp_path / "other", golden=3)
    good, told = found_by_doctor(other.folder, made.path)
    assert good is False
    assert "of another encoder" in told


def spoilt(path: Path, how: str) -> None:
    told: Any = json.loads(path.read_text(encoding="utf-8"))
    match how:
        case "cut off":
            path.write_bytes(path.read_bytes()[:-40])
            return
        case "another kind":
            told["predicateType"] = "urn:another"
        case "no subject":
            del told["subject"]
        case "subject of numbers":
            told["subject"] = [1, 2]
        case "a list":
            told = [told]
        case "deep":
            path.write_text("[" * 100_000, encoding="utf-8")
            return
    path.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    "how", ["cut off", "another kind", "no subject", "subject of numbers", "a list", "deep"]
)
def test_what_is_no_statement_is_a_fault_with_a_hint(how: str, bundle: Bundle) -> None:
    made = save_statement(bundle)
    spoilt(made.path, how)
    with pytest.raises(BundleError, match="no statement") as told:
        read_statement(made.path)
    assert "edge-ret attest" in told.value.hint
    assert found_by_doctor(bundle.folder)[0] is False


def test_a_statement_that_is_named_must_be_there(bundle: Bundle, tmp_path: Path) -> None:
    assert found_by_doctor(bundle.folder, tmp_path / "none.json")[0] is False


def test_a_new_statement_takes_the_old_ones_signature_away(bundle: Bundle) -> None:
    save_statement(bundle)
    (bundle.folder / SIGNATURE).write_text("old", encoding="utf-8")
    assert not save_statement(bundle).signature


@pytest.mark.parametrize("by", ["two\nlines", " Ada", "\x1b[31mAda"])
def test_a_name_is_one_line(by: str, bundle: Bundle) -> None:
    with pytest.raises(ConfigError):
        make_statement(bundle, by=by)


def test_a_recipe_that_is_not_there_is_a_users_mistake(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe"):
        make_statement(bundle, recipe=tmp_path / "none.toml")


def test_attest_prints_the_digest_that_a_person_signs(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-ret", "attest", str(bundle.folder), "--by", ADA])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    told = capsys.readouterr()
    assert told.out.strip().endswith(sha256_of(bundle.folder / STATEMENT))
    assert f"ssh-keygen -Y sign -n {NAMESPACE}" in told.err


def commands_of_docs() -> str:
    """Return the lines of docs/supply-chain.md that call ssh-keygen."""
    text = (ROOT / "docs" / "supply-chain.md").read_text(encoding="utf-8")
    [block] = [part for part in text.split("```")[1::2] if "ssh-keygen -Y sign" in part]
    return block.partition("\n")[2]


@pytest.mark.skipif(
    os.name != "posix" or shutil.which("ssh-keygen") is None, reason="no ssh-keygen here"
)
def test_the_commands_that_docs_give_sign_a_statement_and_find_a_changed_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    save_statement(bundle, by=ADA)
    shutil.copytree(bundle.folder, tmp_path / "bundles" / "mine-int8")
    script = "set -e\n" + commands_of_docs()
    quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    subprocess.run(quiet, check=True)
    script = script.replace("~/.ssh/id_ed25519", "key")
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(["bash", "-c", script], **run)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    assert f'Good "{NAMESPACE}" signature' in done.stdout + done.stderr
    stated = tmp_path / "bundles" / "mine-int8" / STATEMENT
    assert found_by_doctor(stated.parent)[1].endswith("ssh-keygen -Y verify")
    stated.write_text(stated.read_text(encoding="utf-8").replace("Ada", "Eve"), encoding="utf-8")
    verify = script.splitlines()[-1]
    assert subprocess.run(["bash", "-c", verify], **run).returncode != 0  # type: ignore[call-overload]
