"""Fixtures that every test file shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# No test judges time: on a busy machine hypothesis' own 200 ms a case would fail what is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real drawings: $EDGE_RET_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("EDGE_RET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real drawings here: set EDGE_RET_DATA to their folder")
    return folder
