"""A folder tree of drawings: `class/subclass/design/*.png`, or any other depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge_retrieval.errors import TaxonomyError
from edge_retrieval.sources.design import Design, Note, Problem, Sheet, counted
from edge_retrieval.sources.files import Entry, is_image, is_noise, walk
from edge_retrieval.taxonomy import locarno_codes, locarno_path


def read(path: Path) -> Iterator[Design | Problem]:
    """Yield the designs of a folder tree (or of the same tree in a ZIP or tar), folder by folder.

    The last folder is the design, the folders above it are its labels, coarse to fine. Where the
    labels are Locarno codes ("06/06-01", "06/01", or "06-01" alone) they become class and subclass.
    Images that lie in `path` itself are designs of their own, without labels. All labels of a
    source are equally deep: a design at another depth than the first is yielded without labels, and
    reported. A folder name that comes twice is told apart by the folder above it ("chairs/001").
    """
    depth: int | None = None
    numbers: set[str] = set()
    for group in walk(path):
        if isinstance(group, Problem):
            yield group
            continue
        images = []
        for entry in group.entries:
            if is_image(entry.name):
                images.append(entry)
            elif not is_noise(entry.name):
                yield Problem(entry.where, "not a drawing that can be read")
        if not group.parts:
            if len(images) > 1:  # sheets of one design, perhaps, as people keep them
                yield Note(
                    group.where,
                    f"{len(images)} drawings lie in no folder of a design: each is taken as one;"
                    " put those of one design into a folder of their own",
                )
            yield from _each_its_own(images, numbers)
        elif images:
            labels, locarno = _labels(group.parts[:-1])
            depth = len(labels) if depth is None else depth
            if len(labels) != depth:
                yield Note(
                    group.where,
                    "lies at another depth than the first design: "
                    f"{counted(len(labels), 'label')}, not {depth}; indexed without labels",
                )
                labels = ()
            yield Design(
                number=_unused(group.parts, numbers),
                labels=labels,
                sheets=tuple(_sheet(entry) for entry in images),
                where=group.where,
                locarno=locarno,
            )


def _each_its_own(images: list[Entry], numbers: set[str]) -> Iterator[Design]:
    for entry in images:
        stem = PurePosixPath(entry.name).stem
        number = stem if stem not in numbers else entry.name
        numbers.add(number)
        yield Design(number, (), (_sheet(entry),), entry.where)


def _sheet(entry: Entry) -> Sheet:
    return Sheet(entry.name, entry.where, entry.read)


def _unused(parts: tuple[str, ...], numbers: set[str]) -> str:
    """Return the shortest end of the path that no design has yet."""
    for start in range(len(parts) - 1, -1, -1):
        number = "/".join(parts[start:])
        if number not in numbers:
            break
    else:
        number = f"{number}#{len(numbers)}"
    numbers.add(number)
    return number


def _labels(folders: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Return the labels that folder names are, and the Locarno code if they are one."""
    if not folders:
        return (), None
    if len(folders) == 2 and all(re.fullmatch(r"\d\d", name) for name in folders):
        path = locarno_path("-".join(folders))  # 06/01: class and subclass, each by its number
        if path[1] in locarno_codes():
            return path, path[1]
    try:
        path = locarno_path(folders[-1])
    except TaxonomyError:
        return folders, None
    above = folders[:-1]
    if above:
        fits = len(above) == 1 and above[0].zfill(2) == path[0]
    else:  # four digits could be a year or a count: only a code that exists, and is no year
        year = re.fullmatch(r"(19|20)\d\d", folders[-1]) is not None
        fits = not folders[-1].isdigit() or (path[1] in locarno_codes() and not year)
    if fits:
        return path, path[1]
    return folders, None
