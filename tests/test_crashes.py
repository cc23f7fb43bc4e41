"""A small sample of `benchmarks/crashes.py`: kills, flipped bits and truncations."""

from __future__ import annotations

import os

import pytest

from benchmarks import crashes
from edge_retrieval import plan


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL, no select on pipes")
def test_registers_survive_kills_flips_and_truncations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PASS_FROM", "GRAPH_FROM", "BYTE_LOADED"):  # the script lowers them for itself
        monkeypatch.setattr(plan, name, getattr(plan, name))
    result = crashes.run(6, 60, 20, 30, seed=7, mended=6)
    assert result["kills"]["faults"] == []
    assert result["company"]["faults"] == []
    assert result["repairs"]["faults"] == []
    assert result["damage"]["faults"] == []
    assert result["kills"]["commits"] > 0
    assert result["damage"]["flips"]["verify"]["found"] > 0
