"""What the README and the pages of docs show is what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from edge_retrieval.cli.commands import application

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


def commands(text: str) -> list[str]:
    """Every `edge-ret ...` line of a page's shell blocks."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, flags=re.S)
    written = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    lines = [line.split("  #")[0].strip() for line in written]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("edge-ret ")]


def behind(command: object) -> dict[str, Any]:
    """Return the commands of a group, or those that stand behind the name of a command."""
    found: dict[str, Any] = getattr(command, "commands", None) or getattr(command, "also", {})
    return found


def test_pages_show_commands() -> None:
    assert len([page for page in TEXTS if len(commands(TEXTS[page])) >= 5]) >= 8


@pytest.mark.parametrize("line", [line for text in TEXTS.values() for line in commands(text)])
def test_every_command_that_is_shown_exists_with_its_options(line: str) -> None:
    words = shlex.split(re.split(r" [|<>] ", line)[0])[1:]
    command = typer.main.get_command(application())
    while words and words[0] in behind(command):
        command = behind(command)[words.pop(0)]
    assert not getattr(command, "commands", {}), f"{line}: no such command"
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "-h"}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{line}: no option {word}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for text in TEXTS.values():
        blocks = "".join(re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, flags=re.S))
        named = re.findall(r"`make ([a-z-]+)", text)
        named += re.findall(r"^(?:\$ )?make ([a-z-]+)", blocks, flags=re.M)
        assert set(named) <= targets


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXTS[page])
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_every_extra_that_a_page_or_a_hint_names_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for text in TEXTS.values():
        for extras in re.findall(r"pip install [^\n`]*\[([a-z,]+)\]", text):
            named |= set(extras.split(","))
    for folder in ("edge_retrieval", "distill"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            named |= set(re.findall(r'MissingExtraError\.of\(.*?, "([a-z]+)"\)', text))
    assert "graph" in named
    assert named <= project["optional-dependencies"].keys()


def test_every_command_that_a_hint_names_exists() -> None:
    named = set()
    for folder in ("edge_retrieval", "distill"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            named |= set(re.findall(r"edge-ret ([a-z]+)(?: ([a-z]+))?", text))
    root = typer.main.get_command(application())
    assert named
    for first, second in named:
        assert first in root.commands, f"edge-ret {first}"  # type: ignore[attr-defined]
        group = getattr(root.commands[first], "commands", None)  # type: ignore[attr-defined]
        assert group is None or second in group, f"edge-ret {first} {second}"


def test_the_tables_are_those_of_the_results() -> None:
    check = [sys.executable, str(ROOT / "benchmarks" / "render.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
