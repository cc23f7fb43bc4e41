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


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/pod/box\n", {"pod/box/cpu.max": "150000 100000", "pod/cpu.max": "max 100000"}, 1.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "400000 100000", "pod/cpu.max": "50000 100000"}, 0.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000"}, None),
        ("2:cpu,cpuacct:/box\n", {"cpu/box/cpu.cfs_quota_us": "200000",
                                  "cpu/box/cpu.cfs_period_us": "100000"}, 2.0),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("nonsense\n", {}, None),
    ],
)  # fmt: skip
def test_a_control_group_limits_the_cores(
    groups: str, files: dict[str, str], cores: float | None, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert provenance.cgroup_cores(tmp_path) == cores


def test_this_process_may_use_at_least_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "cgroup_cores", lambda: 0.25)
    assert provenance.available_cores() == 1
