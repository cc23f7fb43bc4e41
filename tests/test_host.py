"""What a machine tells of itself, read from made files; and which reports are of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_retrieval import host, provenance
from edge_retrieval.provenance import host as core_facts


def written(root: Path, files: dict[str, str]) -> Path:
    """Write files of the system below a folder."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


CPU = "sys/devices/system/cpu"
PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/meminfo": "MemTotal:        8254100 kB\nMemFree: 1 kB\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    **{f"{CPU}/cpu{i}/topology/physical_package_id": "0\n" for i in range(4)},
    **{f"{CPU}/cpu{i}/topology/core_id": f"{i}\n" for i in range(4)},
    **{f"{CPU}/cpu{i}/cpufreq/scaling_governor": "ondemand\n" for i in range(4)},
}


def test_a_raspberry_pi_tells_its_board_memory_cores_and_governor(tmp_path: Path) -> None:
    told = host.host(written(tmp_path, PI))
    assert told["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert told["memory"] == 8254100 * 1024
    assert told["physical"] == 4
    assert told["governor"] == "ondemand"
    assert told["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert core_facts().items() <= told.items()


def test_what_cannot_be_read_is_absent(tmp_path: Path) -> None:
    told = host.host(tmp_path)
    assert not told.keys() & {"board", "memory", "physical", "governor", "os", "limits"}
    assert None not in told.values()


def test_threads_of_one_core_are_counted_once(tmp_path: Path) -> None:
    cores = {f"{CPU}/cpu{i}/topology/core_id": f"{i % 2}\n" for i in range(4)}
    assert host.host(written(tmp_path, cores))["physical"] == 2


def test_cores_whose_numbers_start_anew_in_each_cluster_are_all_counted(tmp_path: Path) -> None:
    for cpu in range(6):
        written(
            tmp_path,
            {
                f"{CPU}/cpu{cpu}/topology/physical_package_id": "0\n",
                f"{CPU}/cpu{cpu}/topology/core_id": f"{cpu if cpu < 4 else cpu - 4}\n",
                f"{CPU}/cpu{cpu}/topology/thread_siblings_list": f"{cpu}\n",
            },
        )
    assert host.host(tmp_path)["physical"] == 6


def test_a_processor_without_a_name_is_told_by_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"CPU implementer": "0x41", "CPU part": "0xd0c"}
    monkeypatch.setattr(provenance, "_cpuinfo", lambda: told)
    assert provenance.cpu_model() == "ARM 0x41, part 0xd0c"


def test_governors_of_unlike_cores_are_all_told(tmp_path: Path) -> None:
    for core, name in enumerate(["schedutil", "performance", "schedutil"]):
        written(tmp_path, {f"{CPU}/cpu{core}/cpufreq/scaling_governor": name})
    assert host.governor(tmp_path) == "performance, schedutil"


@pytest.mark.parametrize(
    ("groups", "files", "memory"),
    [
        (
            "0::/a/b\n",
            {"memory.max": "max", "a/memory.max": "1000", "a/b/memory.max": "2000"},
            1000,
        ),
        ("0::/a/b\n", {"a/memory.max": "max"}, None),
        ("5:memory:/box\n", {"memory/box/memory.limit_in_bytes": "4096"}, 4096),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_a_control_group_limits_memory(
    groups: str, files: dict[str, str], memory: int | None, tmp_path: Path
) -> None:
    written(tmp_path, {"proc/self/cgroup": groups})
    written(tmp_path / "sys/fs/cgroup", files)
    assert host.limits(tmp_path).get("memory") == memory


def test_a_control_group_limits_cores(tmp_path: Path) -> None:
    written(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000"})
    assert host.limits(tmp_path) == {"cores": 1.5}


HERE = {"cpu": "a", "flags": ["avx2"], "cores": 4, "machine": "x86_64", "memory": 8_000_000_000}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel": "6.9", "system": "Linux 6.9", "governor": "powersave", "os": "other"},
        {"memory": 8_100_000_000},
        {"board": "a board that the other does not tell"},
    ],
)
def test_a_machine_stays_the_same_whatever_changes_from_day_to_day(
    changes: dict[str, object],
) -> None:
    assert host.same_machine(HERE, HERE | changes)
    assert host.same_machine(HERE | changes, HERE)


@pytest.mark.parametrize(
    "changes",
    [{"cpu": "b"}, {"flags": []}, {"cores": 2}, {"machine": "aarch64"}, {"memory": 16_000_000_000}],
)
def test_another_processor_or_memory_is_another_machine(changes: dict[str, object]) -> None:
    assert not host.same_machine(HERE, HERE | changes)


def test_a_report_that_tells_no_processor_is_of_no_known_machine() -> None:
    assert not host.same_machine({}, {})
    assert not host.same_machine(HERE, {"cores": 4})


def test_a_report_of_schema_1_is_of_the_same_machine_as_one_of_today() -> None:
    assert host.same_machine(core_facts(), host.host())
