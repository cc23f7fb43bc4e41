"""Where things came from: told in full, and without naming anybody."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge_retrieval import provenance

X86 = (
    "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Fast CPU @ 2 GHz\nflags\t\t: fpu avx2 avx_vnni\n"
)
PI = "processor\t: 0\nFeatures\t: fp asimd asimddp\n\nModel\t\t: Raspberry Pi 5 Model B\n"


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (X86, "Fast CPU @ 2 GHz", ["avx2", "avx_vnni"]),
        (PI, "Raspberry Pi 5 Model B", ["asimd", "asimddp"]),
    ],
)
def test_the_processor_is_named_as_people_name_it(
    text: str, name: str, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert provenance.cpu_model() == name
    assert provenance.cpu_flags() == flags


def test_a_file_is_hashed_in_pieces_as_in_one(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than two pieces
    (tmp_path / "file").write_bytes(data)
    assert provenance.sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_versions_name_what_is_installed() -> None:
    assert {"edge-retrieval", "python", "numpy", "onnxruntime"} <= provenance.versions().keys()
