"""What `--help` shows: every command has an example, and every example is one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from edge_retrieval.cli.commands import application, words_of

ROOT = typer.main.get_command(application())


def behind(command: Any) -> dict[str, Any]:
    """Return the commands of a group, or those that stand behind the name of a command."""
    return {**(getattr(command, "commands", None) or {}), **(getattr(command, "also", None) or {})}


def walk(command: Any, name: str = "edge-ret") -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, below in behind(command).items():
        yield from walk(below, f"{name} {word}")


COMMANDS = dict(walk(ROOT))


def examples_of(command: Any) -> list[str]:
    """Return the lines of examples of a command's help, unfolded."""
    text = re.sub(r"\\\n\s*", "", command.epilog or "")
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_the_commands_are_found_with_those_behind_them() -> None:
    assert {"edge-ret", "edge-ret bench compare", "edge-ret register verify"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_group_shows_an_example_of_itself(name: str) -> None:
    shown = examples_of(COMMANDS[name])
    assert shown
    assert all(line.startswith(name) for line in shown), shown


@pytest.mark.parametrize(
    "line", [line for command in COMMANDS.values() for line in examples_of(command)]
)
def test_every_example_is_taken_by_the_command_line(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[:1] == ["--show-completion"]:
        return  # tests/test_completion.py calls it
    command: Any = ROOT
    while words and words[0] in behind(command):
        command = behind(command)[words.pop(0)]
    command.make_context("edge-ret", words)  # raises a usage error


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_fit_a_terminal_and_are_shown_as_they_stand(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    context = COMMANDS[name].context_class(COMMANDS[name], info_name=name)
    shown = COMMANDS[name].get_help(context)
    for line in (COMMANDS[name].epilog or "").splitlines()[1:]:
        assert line in shown
        assert len(line) < 80


def test_a_docstring_without_examples_is_shown_whole() -> None:
    assert words_of("For example: this.") == {"help": "For example: this.", "epilog": ""}


def test_a_long_example_is_folded_so_that_a_shell_takes_it_as_one_line() -> None:
    long = "edge-ret search " + " ".join(f"drawing-{number}.png" for number in range(12))
    told = words_of(f"Rank.\n\nExample:\n{long}")
    assert told["help"] == "Rank."
    folded = told["epilog"].partition("Example:\n")[2]
    assert len(folded.splitlines()) > 1
    assert shlex.split(folded.replace("\\\n", "")) == shlex.split(long)
