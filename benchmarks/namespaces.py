"""Three machines in one: network, mount and host-name namespaces of Linux. Takes root's rights."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MACHINES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
BRIDGE = "edgeret"
SHARED = Path("/shared")


@dataclass(frozen=True)
class Lab:
    """Machines that reach one another alone.

    Attributes:
        shared: What all of them see as `/shared`.
        hidden: A folder that the first one alone sees.
    """

    shared: Path
    hidden: Path

    def inside(self, machine: str, words: Sequence[str]) -> list[str]:
        """Return the command that runs another one in a machine."""
        number = MACHINES.index(machine) + 1
        steps = [f"hostname machine-{number}", f"mount --bind {self.shared} {SHARED}"]
        if number > 1:
            steps += [f"mount -t tmpfs none {self.hidden}", f"cd {self.hidden}"]
        script = " && ".join([*steps, 'exec "$@"'])
        inside = ["ip", "netns", "exec", f"{BRIDGE}{number}", "unshare", "--mount", "--uts"]
        return [*inside, "bash", "-c", script, "bash", *words]


def ip(line: str) -> None:
    """Run a command of `ip`."""
    subprocess.run(["ip", *line.split()], check=True)


@contextlib.contextmanager
def laboratory(shared: Path, hidden: Path) -> Iterator[Lab]:
    """Make the machines; remove them afterwards."""
    made = not SHARED.exists()
    SHARED.mkdir(exist_ok=True)
    names = [f"{BRIDGE}{number}" for number in range(1, len(MACHINES) + 1)]
    hosts = "127.0.0.1 localhost\n" + "".join(
        f"{address} machine-{number}\n" for number, address in enumerate(MACHINES, 1)
    )
    try:
        ip(f"link add {BRIDGE} type bridge")
        ip(f"link set {BRIDGE} up")
        for name, address in zip(names, MACHINES, strict=True):
            ip(f"netns add {name}")
            ip(f"link add {name} type veth peer name eth0 netns {name}")
            ip(f"link set {name} master {BRIDGE} up")
            ip(f"-n {name} addr add {address}/24 dev eth0")
            ip(f"-n {name} link set eth0 up")
            ip(f"-n {name} link set lo up")
            told = Path("/etc/netns") / name  # `ip netns exec` shows its files in place of /etc's
            told.mkdir(parents=True, exist_ok=True)
            (told / "hosts").write_text(hosts)
        yield Lab(shared, hidden)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)
            with contextlib.suppress(OSError):
                (Path("/etc/netns") / name / "hosts").unlink()
                (Path("/etc/netns") / name).rmdir()
        subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)
        if made:
            SHARED.rmdir()
