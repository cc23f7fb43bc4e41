"""Shells are told how a line goes on: commands, options, designs of the register that is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edge_retrieval import cli
from edge_retrieval.cli import commands, completing, talk
from edge_retrieval.register import Register
from tests import fakes

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned" / "register-3"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program `edge-ret` in it, to be put on the path."""
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "edge-ret"
    program.write_text(f"#!{sys.executable}\nfrom edge_retrieval.cli import main\nmain()\n")
    program.chmod(0o755)
    return folder


def in_shell(shell: str, script: str, here: Path, *args: str) -> list[str]:
    """Run a script in a shell that knows `edge-ret`; return the lines that it prints."""
    if os.name != "posix" or shutil.which(shell) is None:
        pytest.skip(f"no {shell} here, or one of another system")
    kept = {k: v for k, v in os.environ.items() if k != "EDGE_RET_REGISTER"}
    done = subprocess.run(
        [shell, *args, "-c", script], capture_output=True, text=True, cwd=PINNED.parent,
        env={**kept, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        timeout=600, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split("\n")


LINES = {
    "edge-ret sho": {"show"},
    "edge-ret register ": {"info", "remove", "compact", "merge", "verify", "reembed"},
    "edge-ret search --exclude-": {"--exclude-self"},
    "edge-ret show -r register-3 D": {"D0000", "D0001", "D0002"},
    "edge-ret search drawing.png --register register-3 --design ": {"D0000", "D0001", "D0002"},
    "edge-ret register remove register-3 D0001 D0002": {"D0002"},
    "edge-ret search -r register-3 --class 07": {"07", "07-03"},
}
FEW = {line: LINES[line] for line in list(LINES)[1:5]}


END = "--end of one line--"


def told(lines: list[str]) -> list[list[str]]:
    """Part what was printed for one line after the other."""
    return [part.split() for part in "\n".join(lines).split(END)[:-1]]


def test_bash_completes(here: Path) -> None:
    script = """
        ask() {
            COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            case "$1" in *' ') COMP_WORDS+=(''); COMP_CWORD=$((COMP_CWORD + 1));; esac
            _edge_ret_completion edge-ret
            printf '%s\n' "${COMPREPLY[@]}"
        }
        eval "$(edge-ret --show-completion bash)"
    """
    script += "".join(f"ask '{line}'; echo '{END}'\n" for line in LINES)
    found = told(in_shell("bash", script, here, "--norc"))
    assert [set(names) for names in found] == list(LINES.values())


def test_fish_completes(here: Path) -> None:
    script = "edge-ret --show-completion fish | source\n"
    script += "".join(f"complete -C '{line}' | cut -f1; echo '{END}'\n" for line in FEW)
    found = told(in_shell("fish", script, here, "--no-config"))
    assert [set(names) for names in found] == list(FEW.values())


def test_zsh_completes(here: Path) -> None:
    script = """
        compdef() { : }
        _arguments() { print -r -- "$1" }
        ask() {
            words=(${=1}); CURRENT=$#words
            case "$1" in *' ') words+=(''); CURRENT=$#words;; esac
            _edge_ret_completion
        }
        eval "$(edge-ret --show-completion zsh)"
    """
    script += "".join(f"ask '{line}'; echo '{END}'\n" for line in FEW)
    found = "\n".join(in_shell("zsh", script, here, "-f")).split(END)[:-1]
    # Each is "name" or "name":"what it is".
    names = [set(re.findall(r'[( \n]"([^"]+)"', part)) for part in found]
    assert names == list(FEW.values())


@pytest.mark.parametrize("shell", completing.SHELLS)
def test_each_shell_has_its_script(shell: str) -> None:
    assert commands.COMPLETING in completing.script_of(shell, {})


def test_a_shell_that_nobody_knows_is_one_line_and_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-ret", "--show-completion", "tcsh"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: no shell is called 'tcsh' here"
    assert "bash, zsh, fish" in hint


def test_without_a_name_it_is_the_shell_that_asks_or_that_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shellingham

    def nobody() -> tuple[str, str]:
        raise shellingham.ShellDetectionFailure

    monkeypatch.setattr(shellingham, "detect_shell", nobody)
    told = completing.script_of("", {"SHELL": "/usr/bin/fish"})
    assert told == completing.script_of("fish", {})
    with pytest.raises(completing.ConfigError, match="unknown"):
        completing.script_of("", {})


def test_only_the_command_that_is_completed_is_loaded() -> None:
    bash = {commands.COMPLETING: "complete_bash"}
    zsh = {commands.COMPLETING: "complete_zsh"}
    assert (
        commands.called(["edge-ret"], bash | {"COMP_WORDS": "edge-ret\nse", "COMP_CWORD": "1"})
        == ""
    )
    assert (
        commands.called(["x"], bash | {"COMP_WORDS": "edge-ret\nshow\n", "COMP_CWORD": "2"})
        == "show"
    )
    assert commands.called(["x"], zsh | {"_TYPER_COMPLETE_ARGS": "edge-ret show D"}) == "show"
    assert commands.called(["x"], zsh | {"_TYPER_COMPLETE_ARGS": "edge-ret show "}) == "show"
    assert commands.called(["x"], zsh | {"_TYPER_COMPLETE_ARGS": "edge-ret sho"}) == ""
    assert commands.called(["edge-ret", "show", "D1"], {}) == "show"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A register of 130 designs, of which one was removed."""
    bundle = fakes.tiny_bundle(tmp_path / "bundle")
    with Register.create(tmp_path / "register", bundle) as register:
        register.add(fakes.designs(130, views=1), fakes.FakeEncoder(bundle.fingerprint))
        register.remove(["D0005"])
    return tmp_path / "register"


def test_removed_designs_are_not_offered(many: Path) -> None:
    assert completing.numbers(many, "D000") == [f"D000{n}" for n in range(10) if n != 5]


def test_of_many_the_last_is_offered_too_so_that_what_all_begin_with_is_right(many: Path) -> None:
    offered = completing.numbers(many, "D0")
    assert len(offered) == completing.MOST
    assert (offered[0], offered[-1]) == ("D0000", "D0129")


def test_what_is_no_register_or_a_damaged_one_offers_nothing_and_says_nothing(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completing.numbers(tmp_path / "none", "D") == []
    columns = many / "columns.bin"
    columns.write_bytes(columns.read_bytes()[:-70])
    assert completing.numbers(many, "D") == []
    assert completing.sources(many, "") == []
    assert completing.classes(many, "") == []
    assert capsys.readouterr().err == ""


def test_names_that_a_shell_would_part_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["grants", "two words", "a;b", "$HOME", "`x`"]
    monkeypatch.setattr(completing, "sources", lambda register, begun: names)
    assert completing.of_register("sources", {}, "") == ["grants"]


def test_the_register_of_the_environment_is_asked_where_none_is_named(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_RET_REGISTER", str(many))
    context = typer.Context(typer.main.get_command(commands.application("show")))
    assert talk.completes("numbers")(context, "D012") == [f"D012{n}" for n in range(10)]
