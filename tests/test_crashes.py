"""A small sample of `benchmarks/crashes.py`: kills, flipped bits and truncations."""

from __future__ import annotations

import os

import pytest

from benchmarks import crashes


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL, no select on pipes")
def test_registers_survive_kills_flips_and_truncations() -> None:
    result = crashes.run(6, 60, 20, 30, seed=7)
    assert result["kills"]["faults"] == []
    assert result["company"]["faults"] == []
    assert result["damage"]["faults"] == []
    assert result["kills"]["commits"] > 0
    assert result["damage"]["flips"]["verify"]["found"] > 0
