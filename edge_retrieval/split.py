"""Which designs train, which validate and which test: said once, in a file, for every command.

    # why it was drawn so
    seed = 2506
    gap = 100
    train = ["USD669945", ...]
    validation = [...]
    test = [...]

`seed` and `gap` tell how it was drawn; nothing reads them but who draws it again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from edge_retrieval.design_number import spelled_once
from edge_retrieval.errors import ConfigError

PARTS = ("train", "validation", "test")
DRAWN_BY = ("seed", "gap")

Keep = Callable[[str], bool]
"""Tells by its number whether a design is wanted."""


@dataclass(frozen=True)
class Split:
    """A split of designs.

    Attributes:
        name: Of its file.
        text: What the file says, to be kept beside what was made with it.
        parts: The numbers of each of `PARTS`, as they are written.
    """

    name: str
    text: str
    parts: dict[str, tuple[str, ...]]

    def part_of(self, number: str) -> str | None:
        """Return the part that a design is in, in any spelling of its number; None: in no one."""
        return self._part_of.get(spelled_once(number))

    def trains(self, number: str) -> bool:
        """Tell whether a design may be trained on: no other part names it."""
        return self.part_of(number) in (None, "train")

    def within(self, part: str) -> Keep:
        """Return what tells the designs of one part from all others.

        Raises:
            ConfigError: There is no such part, or it is empty.
        """
        if part not in PARTS:
            raise ConfigError(f"no part {part!r} of a split", hint=f"choose from {_listed(PARTS)}")
        if not self.parts[part]:
            full = [name for name in PARTS if self.parts[name]]
            raise ConfigError(
                f"{self.name}: its {part} part is empty", hint=f"choose from {_listed(full)}"
            )
        return partial(self._is_in, part)

    def sides(self) -> tuple[Keep, Keep]:
        """Return what tells the designs to train on, and those to validate with."""
        return self.trains, partial(self._is_in, "validation")

    def _is_in(self, part: str, number: str) -> bool:
        return self.part_of(number) == part

    @cached_property
    def _part_of(self) -> dict[str, str]:
        return {spelled_once(n): part for part, numbers in self.parts.items() for n in numbers}


def read_split(path: Path) -> Split:
    """Read a split.

    Raises:
        ConfigError: Not a file, not TOML, an unknown name, or a design that is named twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="give a TOML file") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, and numbers without end
        raise ConfigError(
            f"{path}: not TOML: {error}", hint='write lines such as: test = ["USD909824"]'
        ) from error
    for name in found:
        if name not in (*PARTS, *DRAWN_BY):
            near = get_close_matches(name, (*PARTS, *DRAWN_BY), 1)
            hint = f"did you mean {near[0]}?" if near else f"parts are {_listed(PARTS)}"
            raise ConfigError(f"{path}: no part {name!r} of a split", hint=hint)
    parts = {part: _numbers(found.get(part, []), part, path) for part in PARTS}
    _refuse_twice(parts, path)
    return Split(path.name, text, parts)


def _numbers(value: Any, part: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(
            f"{path}: {part} is no list of numbers", hint=f'write {part} = ["USD909824", "..."]'
        )
    return tuple(value)


def _refuse_twice(parts: dict[str, tuple[str, ...]], path: Path) -> None:
    seen: dict[str, str] = {}
    for part, numbers in parts.items():
        for number in numbers:
            before = seen.get(spelled_once(number))
            if before is not None:
                where = f"twice in {part}" if before == part else f"in {before} and in {part}"
                raise ConfigError(
                    f"{path}: {number} is {where}", hint="name every design in one place"
                )
            seen[spelled_once(number)] = part


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "none"
