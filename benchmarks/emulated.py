"""An arm64 Debian with a Python, run by QEMU in user mode: no root rights, no kernel settings.

Debian's own packages are unpacked into a folder: QEMU 10 for this machine (Debian 13; the QEMU 7.2
of Debian 12 crashes on onnxruntime), and Python with what it needs for arm64 (Debian 12, as in
Raspberry Pi OS Bookworm). Needs apt-get, dpkg-deb and Debian's keys, and takes the mirror that this
machine is set to. What is there already is used again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.provenance import sha256_of

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("python3-venv", "libstdc++6")
"""What a person with a Pi installs, and what wheels take as given."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")


class Machine:
    """An emulated machine in a folder: `make` it, then `run` commands on a processor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "root"
        self.qemu = self.folder / "qemu" / "usr" / "bin" / "qemu-aarch64"
        self.venv = self.folder / "venv"

    def make(self) -> None:
        """Fetch and unpack what is not there yet; give the root a python3 that starts QEMU."""
        if not self.qemu.exists():
            unpack(self.folder / "qemu", "trixie", "amd64", ["qemu-user"], alone=True)
        python = self.root / "usr" / "bin" / "python3"
        if not (self.root / "made").exists():
            shutil.rmtree(self.root, ignore_errors=True)
            unpack(self.root, "bookworm", "arm64", PACKAGES)
            python.unlink()  # a link to python3.11; now a script, which this machine can start
            python.write_text(
                f'#!/bin/sh\nexec {self.qemu} -L {self.root} -0 "$0" {python}.11 "$@"\n',
                encoding="utf-8",
            )
            python.chmod(0o755)
            [pip] = self.root.glob("usr/share/python-wheels/pip-*.whl")
            shutil.unpack_archive(pip, self.folder / "pip", "zip")
            (self.root / "made").touch()

    def install(self, wheel: Path, constraints: Path) -> None:
        """Make a venv and install a wheel there with its dependencies, as wheels alone.

        This machine fetches the wheels for arm64; pip on the emulated one chooses among them by the
        requirements' own markers. It has no compiler in its path, and builds nothing. The same
        wheel is not installed again.
        """
        wanted = sha256_of(wheel) + sha256_of(constraints)
        stamp = self.venv / "installed"
        if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
            return
        wheels = self.folder / "wheels"
        fetch = ["download", "-q", "-d", wheels, "-c", constraints, "--only-binary=:all:"]
        fetch += [f"--platform={name}" for name in PLATFORMS] + ["--python-version=311"]
        # Of the requirements those that a marker does not take from an aarch64.
        names = [name for name in requirements(wheel) if "platform_machine" not in name]
        call([sys.executable, "-m", "pip", *fetch, *names])
        shutil.rmtree(self.venv, ignore_errors=True)
        python = self.root / "usr" / "bin" / "python3"
        self.run([python, "-m", "venv", "--without-pip", self.venv], "max")
        options = ["--no-index", "--find-links", wheels, "--only-binary=:all:", "-c", constraints]
        install = [self.venv / "bin" / "python", self.folder / "pip" / "pip", "install", "-q"]
        self.run([*install, "--no-compile", *options, wheel], "max")
        stamp.write_text(wanted, encoding="ascii")

    def run(self, command: Sequence[str | Path], cpu: str, **variables: str) -> str:
        """Run a command there on a processor that QEMU knows; return what it prints."""
        environment = {
            "PATH": f"{self.venv}/bin:{self.root}/usr/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "QEMU_CPU": cpu,
            **variables,
        }
        return call(command, environment)

    def version(self) -> str:
        """Return QEMU's version as it tells it."""
        return call([self.qemu, "--version"]).splitlines()[0]


def unpack(
    into: Path, suite: str, architecture: str, names: Sequence[str], *, alone: bool = False
) -> None:
    """Unpack packages of Debian, with all that they depend on or `alone`, into a folder."""
    state = into.with_name(f"apt-{architecture}")
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()  # nothing is installed: every dependency is fetched
    source = state / "sources.list"
    source.write_text(f"deb [arch={architecture} signed-by={KEYS}] {mirror()} {suite} main\n")
    options = {
        "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": state,
        "Dir::Etc::sourcelist": source, "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null", "APT::Architecture": architecture,
        "APT::Architectures": architecture, "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "", "Debug::NoLocking": "1",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    call([*apt, "update"])
    archives = state / "archives"
    if alone:
        call([*apt, "download", *names], cwd=archives)
    else:
        call([*apt, "install", "-y", "--download-only", *names])
    for package in sorted(archives.glob("*.deb")):
        call(["dpkg-deb", "-x", package, into])


def mirror() -> str:
    """Return the address of Debian's packages that this machine is set to."""
    told = call(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"])
    sites = [line.split()[1] for line in told.splitlines() if line.startswith("Debian http")]
    if not sites:
        raise SystemExit("apt-get knows no mirror of Debian: run apt-get update first")
    return sites[0]


def requirements(wheel: Path) -> list[str]:
    """Return what a wheel requires without extras, as its metadata say it."""
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode()
    lines = [line[15:] for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    return [line for line in lines if "extra ==" not in line]


def call(
    command: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command; return what it prints, or end with what it complains of."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment or dict(os.environ),
        cwd=cwd,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
