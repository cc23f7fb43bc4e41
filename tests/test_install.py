"""What the base install asks for, on a PC and on a Raspberry Pi."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TEXT = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)
BASE = {"numpy", "pillow", "onnxruntime", "hnswlib", "typer", "rich"}


def asked(machine: str) -> set[str]:
    """Return the names that the base install takes on a machine."""
    requirements = map(Requirement, PROJECT["project"]["dependencies"])
    return {
        one.name
        for one in requirements
        if one.marker is None or one.marker.evaluate({"platform_machine": machine})
    }


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "arm64"])  # the last: a Mac
def test_a_pc_gets_the_whole_base_install(machine: str) -> None:
    assert asked(machine) == BASE


def test_a_raspberry_pi_gets_nothing_that_has_to_be_compiled() -> None:
    assert asked("aarch64") == BASE - {"hnswlib"}


def test_what_a_raspberry_pi_does_without_is_an_extra_of_the_same_version() -> None:
    [left_out] = (r for r in PROJECT["project"]["dependencies"] if "platform_machine" in r)
    extra = PROJECT["project"]["optional-dependencies"]["graph"]
    assert extra == [left_out.partition(";")[0].strip()]


def test_every_dependency_is_bounded_from_below_and_from_above_only_with_a_reason() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        asked = Requirement(line)
        if asked.name == project["name"]:
            continue
        operators = {one.operator for one in asked.specifier}
        assert ">=" in operators, f"{line}: no lower bound"
        if operators & {"<", "<=", "==", "~="}:
            [written] = [row for row in TEXT.splitlines() if f'"{line}"' in row]
            assert "#" in written.partition(f'"{line}"')[2], f"{line}: no reason beside it"
