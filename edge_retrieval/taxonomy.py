"""Label paths and their codes; the spellings of Locarno and US design classes.

A taxonomy is a tree of fixed depth. Locarno's is `class > subclass > design`; a folder tree or a
table with label columns is another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edge_retrieval.arrays import Codes
from edge_retrieval.errors import TaxonomyError

LabelPath: TypeAlias = tuple[str, ...]
"""Labels of one item, coarse to fine: ("06", "06-01", "USD0909824")."""

LOCARNO_LEVELS = ("class", "subclass", "design")


class Taxonomy:
    """A tree of fixed depth, made from label paths; each node is a code at its level.

    A code stands for a label *prefix*: "other" under two parents has two codes, so items that agree
    at a level agree at every coarser one. Codes of a level count from 0 in order of first sight and
    never change: growing only appends.

    Args:
        levels: Names of the levels, coarse to fine; at least one, all different.

    Raises:
        TaxonomyError: No level, or two of one name.
    """

    def __init__(self, levels: Sequence[str]) -> None:
        self.levels = tuple(levels)
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise TaxonomyError(
                f"levels {list(self.levels)} are not one or more different names",
                hint=f"for example {list(LOCARNO_LEVELS)}",
            )
        # nodes[level][code] = (code of the parent, label); codes[level] is its inverse.
        self._nodes: list[list[tuple[int, str]]] = [[] for _ in self.levels]
        self._codes: list[dict[tuple[int, str], int]] = [{} for _ in self.levels]

    @classmethod
    def of(cls, paths: Iterable[LabelPath], levels: Sequence[str]) -> Taxonomy:
        """Make the tree that holds `paths`, each as long as `levels`.

        Raises:
            TaxonomyError: A path of another length.
        """
        taxonomy = cls(levels)
        taxonomy.encode(paths, grow=True)
        return taxonomy

    def __len__(self) -> int:
        """Return the number of leaves: nodes at the finest level."""
        return len(self._nodes[-1])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Taxonomy):
            return NotImplemented
        return self.levels == other.levels and self._nodes == other._nodes

    __hash__ = None  # type: ignore[assignment]  # it grows

    def encode(self, paths: Iterable[LabelPath], *, grow: bool = False) -> Codes:
        """Return `(N, L)` int32 codes, coarse to fine, of `N` label paths.

        Args:
            paths: Label paths, each with one label per level.
            grow: Append what is unknown as new nodes, instead of refusing it.

        Raises:
            TaxonomyError: A path of another length; an unknown one where `grow` is False.
        """
        rows = [self._encode_one(tuple(path), grow) for path in paths]
        return np.array(rows, dtype=np.int32).reshape(len(rows), len(self.levels))  # (N, L)

    def _encode_one(self, path: LabelPath, grow: bool) -> list[int]:
        if len(path) != len(self.levels):
            raise TaxonomyError(
                f"label path {path} has {len(path)} labels, the taxonomy {len(self.levels)} levels",
                hint=f"give one label for each of {', '.join(self.levels)}",
            )
        row: list[int] = []
        parent = 0
        for level, label in enumerate(path):
            key = (parent, label)
            code = self._codes[level].get(key)
            if code is None:
                if not grow:
                    raise TaxonomyError(
                        f"label path {path}: no {self.levels[level]} {label!r} in this taxonomy",
                        hint="pass grow=True to add it",
                    )
                code = len(self._nodes[level])
                self._nodes[level].append(key)
                self._codes[level][key] = code
            row.append(code)
            parent = code
        return row

    def decode(self, codes: Codes) -> list[LabelPath]:
        """Return the label paths of `(N, L)` codes; the inverse of `encode`.

        Raises:
            TaxonomyError: Another shape, a code that no path has, or a row that is no path.
        """
        table = np.asarray(codes)
        if table.ndim != 2 or table.shape[1] != len(self.levels):
            raise TaxonomyError(
                f"codes of shape {table.shape} for {len(self.levels)} levels",
                hint="give an (N, L) array as encode returns it",
            )
        return [self._decode_one([int(code) for code in row]) for row in table]

    def _decode_one(self, row: list[int]) -> LabelPath:
        labels: list[str] = []
        parent = 0
        for level, code in enumerate(row):
            known = 0 <= code < len(self._nodes[level])
            if not known or self._nodes[level][code][0] != parent:
                raise TaxonomyError(
                    f"codes {row} are no path of this taxonomy",
                    hint="these codes were made with another taxonomy",
                )
            labels.append(self._nodes[level][code][1])
            parent = code
        return tuple(labels)

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists: `levels`, and per level `[parent code, label]` by code."""
        nodes = [[[parent, label] for parent, label in level] for level in self._nodes]
        return {"levels": list(self.levels), "nodes": nodes}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Taxonomy:
        """Read what `to_json` wrote.

        Raises:
            TaxonomyError: It is not a taxonomy.
        """
        broken = TaxonomyError("not a taxonomy", hint="the file is damaged: make it anew")
        try:
            levels, nodes = value["levels"], value["nodes"]
            if not all(isinstance(name, str) for name in levels) or len(nodes) != len(levels):
                raise broken
            taxonomy = cls(levels)
            above = 1
            for level, entries in enumerate(nodes):
                for parent, label in entries:
                    new = (parent, label) not in taxonomy._codes[level]
                    if not (new and isinstance(label, str) and parent in range(above)):
                        raise broken
                    taxonomy._codes[level][parent, label] = len(taxonomy._nodes[level])
                    taxonomy._nodes[level].append((parent, label))
                above = len(taxonomy._nodes[level])
        except (KeyError, TypeError, ValueError):
            raise broken from None
        return taxonomy


UNKNOWN = -1
"""The code of a level at which an item has no label; it agrees with nothing."""


def partial_codes(items: Iterable[tuple[LabelPath, str]]) -> tuple[tuple[str, ...], Codes]:
    """Return codes of items whose labels may end early: a class is known, but no subclass, say.

    Args:
        items: ``N`` pairs: labels above the design, coarse to fine, perhaps none; and the number of
            the design. Items of one number are one design: it has the longest of their labels, or
            where they contradict one another, what they have in common.

    Returns:
        Names of the levels of the deepest labels, the last one "design", and ``(N, L)`` int32
        codes, each level counted from 0 in order of first sight; `UNKNOWN` where a label is
        missing. As in `Taxonomy` a code stands for a label prefix. A design is always known.
    """
    numbers: list[str] = []
    labels: dict[str, LabelPath] = {}
    depth = 0
    for path, number in items:
        numbers.append(number)
        depth = max(depth, len(path))
        labels[number] = _agreed(labels[number], path) if number in labels else path
    codes = np.full((len(labels), depth + 1), UNKNOWN, np.int32)  # one row a design
    codes[:, -1] = np.arange(len(labels))
    seen: list[dict[LabelPath, int]] = [{} for _ in range(depth)]
    for row, known in enumerate(labels.values()):
        for level in range(len(known)):
            codes[row, level] = seen[level].setdefault(known[: level + 1], len(seen[level]))
    place = {number: row for row, number in enumerate(labels)}
    locarno = depth + 1 == len(LOCARNO_LEVELS)
    above = LOCARNO_LEVELS[:-1] if locarno else tuple(f"level{n + 1}" for n in range(depth))
    return (*above, LOCARNO_LEVELS[-1]), codes[[place[number] for number in numbers]]


def _agreed(one: LabelPath, other: LabelPath) -> LabelPath:
    """Return the longer of two label paths; what they share if they contradict each other."""
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return max(one, other, key=len) if same == min(len(one), len(other)) else one[:same]


_DASH = r"\s*[-./‐-―]\s*"
_FIRST_LOCARNO = re.compile(
    r"\s*(?:(?:LOC(?:ARNO)?\.?\s*(?:\(\s*\d+\s*\)\s*)?)?(?:CL(?:ASS)?\.?)?\s*)"
    rf"(?:(?P<class>\d{{1,2}}){_DASH}(?P<subclass>\d{{1,2}})|(?P<digits>\d{{3,4}}))"
    rf"(?:\s*[,;]\s*\d{{1,4}}(?:{_DASH}\d{{1,2}})?)*\s*[,;]?\s*",
    re.IGNORECASE,
)


def parse_locarno(text: str) -> str:
    """Return the Locarno code that `text` spells, as `NN-NN`; of several codes the first.

    Known spellings: `06-01`, `6-1`, `06.01`, `0601`, `601` (a spreadsheet ate the zero),
    `LOC (13) Cl. 06-01`, `Cl. 8-05, 08; 11-01`. The number need not exist: editions add codes.

    Raises:
        TaxonomyError: It is no Locarno code. A class alone ("06") is none.
    """
    match = _FIRST_LOCARNO.fullmatch(text)
    if match is None:
        raise TaxonomyError(
            f"{text.strip()[:60]!r} is not a Locarno code", hint="write it as 06-01"
        )
    if digits := match["digits"]:
        digits = digits.zfill(4)
        return f"{digits[:2]}-{digits[2:]}"
    return f"{int(match['class']):02}-{int(match['subclass']):02}"


def locarno_path(code: str) -> tuple[str, str]:
    """Return class and subclass, coarse to fine, of any spelling: "06-01" -> ("06", "06-01").

    Raises:
        TaxonomyError: It is no Locarno code.
    """
    code = parse_locarno(code)
    return code[:2], code


def locarno_title(code: str) -> str | None:
    """Return the heading of a class ("06") or subclass ("06-01"); None if it is not known."""
    return _locarno_table().get(code)


def locarno_codes() -> dict[str, str]:
    """Return heading by code of the 241 known subclasses, in order."""
    return {code: title for code, title in _locarno_table().items() if "-" in code}


def locarno_classes() -> dict[str, str]:
    """Return heading by number ("01" to "32") of the 32 classes, in order."""
    return {code: title for code, title in _locarno_table().items() if "-" not in code}


@lru_cache(maxsize=1)
def _locarno_table() -> dict[str, str]:
    text = (Path(__file__).parent / "data" / "locarno.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("\t")[:2] for line in lines)


_USPC_WRITTEN = re.compile(
    r"\s*D\s*(?P<class>\d{1,2})\s*[/-]\s*(?P<subclass>\d{1,3})(?P<rest>\.\d+)?\s*"
)
_USPC_COLUMNS = re.compile(r"D(?P<class>[ \d]\d)(?P<subclass>[ \d]{2}\d)(?P<rest>\d*)")
_USPC_BLANK = re.compile(r"D\s*(?P<class>\d{1,2})\s+(?P<subclass>\d{1,3})(?P<rest>\.\d+)?")
_USPC_ONE_DIGIT = re.compile(r"D(?P<class>\d)(?P<subclass>\d{3})(?P<rest>\d*)")
_USPC_SHIFTED = re.compile(r" D\d(?!\d? )")
_USPC_CLASSES = frozenset([*range(1, 35), 99])


def parse_uspc(text: str) -> str:
    """Return a US design class as `Dnn/subclass`: "D07/654", "D07/401.2".

    The office's XML writes it in fixed columns: `D`, two for the class, three for the subclass,
    both padded with blanks on the left, and the digits after them are decimals. "D 7654" is
    D07/654, "D12 91" is D12/91, "D 74012" is D07/401.2, "D18 344" is D18/34.4. In a further
    classification the blank stands before the D (" D74012": pass the text unstripped).
    Where blanks were stripped, a class of two digits is preferred if it exists (D1 to D34, D99):
    "D12345" is D12/345, "D74012" D07/401.2. Also read are the written forms "D6/362", "D2-95" and
    "D7 654".

    Raises:
        TaxonomyError: It is none of these.
    """
    raw = text.upper().rstrip()
    columns = raw.lstrip()
    if _USPC_SHIFTED.match(raw):
        columns = f"D {columns[1:]}"
    found = _USPC_WRITTEN.fullmatch(raw)
    if found is None:
        found = _USPC_COLUMNS.fullmatch(columns)
        if found is not None and int(found["class"]) not in _USPC_CLASSES:
            found = None
    found = found or _USPC_BLANK.fullmatch(columns) or _USPC_ONE_DIGIT.fullmatch(columns)
    if found is None or int(found["class"]) == 0:
        raise TaxonomyError(f"{text[:60]!r} is not a US design class", hint="write it as D07/654")
    decimals = found["rest"] or ""
    if decimals and not decimals.startswith("."):
        decimals = f".{decimals}"
    return f"D{int(found['class']):02}/{int(found['subclass'])}{decimals}"


def uspc_path(code: str) -> tuple[str, str]:
    """Return class and full code, coarse to fine: "D 7654" -> ("D07", "D07/654").

    Raises:
        TaxonomyError: It is no US design class.
    """
    code = parse_uspc(code)
    return code.split("/")[0], code
