"""Registers as an adversary leaves them: caches of others, kills in the rarest moments, lies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_retrieval.bundle import Bundle
from edge_retrieval.register import Register
from edge_retrieval.register.repairing import faults_of, repair
from tests import fakes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture(scope="module")
def stocked(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, encoder: fakes.FakeEncoder
) -> Path:
    """A register of 6 designs with 3 figures each; look, do not touch."""
    folder = tmp_path_factory.mktemp("stocked") / "register"
    with Register.create(folder, bundle) as register:
        register.add(fakes.designs(6), encoder)
    return folder


@pytest.fixture
def copied(stocked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stocked, tmp_path / "copied"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def numbers_in(folder: Path) -> list[str]:
    with Register.open(folder) as register:
        columns = register.columns
        return [columns.number(at) for at in range(len(columns.alive)) if columns.alive[at]]


# The columns of another moment, or of another register


@pytest.fixture
def others(tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder) -> Iterator[Path]:
    """Columns of a register with more designs, with more figures, in more commits."""
    with Register.create(tmp_path / "other", bundle) as register:
        for design in fakes.designs(9)[::-1]:
            register.add([design], encoder)
    yield tmp_path / "other" / "columns.bin"


@pytest.mark.parametrize("damaged", [None, "designs.sqlite", "vectors-0.f32"])
def test_columns_of_another_register_cost_no_design(
    copied: Path, others: Path, damaged: str | None
) -> None:
    before = numbers_in(copied)
    shutil.copy(others, copied / "columns.bin")
    if damaged == "designs.sqlite":
        path = copied / damaged
        path.write_bytes(path.read_bytes().replace(b"Thing 5", b"Thang 5"))
    elif damaged:
        flip(copied / damaged, -1)
    assert any("columns.bin" in line for line in faults_of(copied))
    assert repair(copied)
    assert faults_of(copied) == []
    assert numbers_in(copied) == (before[:-1] if damaged else before)


def test_columns_newer_than_a_database_that_lost_commits_cost_no_design(
    copied: Path, tmp_path: Path, encoder: fakes.FakeEncoder
) -> None:
    before = numbers_in(copied)
    more = [
        fakes.design(
            i, [fakes.sheet(fakes.drawing(i, 9), f"{i}-9.png", where=f"{i}9")], fakes.CLASSES[0]
        )
        for i in range(6)
    ]
    torn = tmp_path / "torn"
    with Register.open(copied) as reader, Register.open(copied) as register:
        reader.design("D0000")  # its snapshot keeps the log
        register.add(more, encoder)
        shutil.copytree(copied, torn)
    flip(torn / "designs.sqlite-wal", 60)
    assert any("was committed" in line for line in faults_of(torn))
    repair(torn)
    assert faults_of(torn) == []
    assert numbers_in(torn) == before
