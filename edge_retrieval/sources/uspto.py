"""Design grants as the US office publishes them: folders, ZIPs, weekly tars of ZIPs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from edge_retrieval.errors import DrawingError
from edge_retrieval.sources.design import Design, Problem, counted
from edge_retrieval.sources.files import (
    Entry,
    Group,
    file_entry,
    is_file,
    is_image,
    is_noise,
    problem_of,
    walk,
)
from edge_retrieval.sources.grant import is_design, read_grant
from edge_retrieval.sources.safexml import UnsafeXml, parse

ROOT = "us-patent-grant"
# A weekly tar holds thousands of utility patents; their ZIPs are passed over without being opened.
_OTHER_GRANT = re.compile(r"US(?!D\d)[A-Z0-9]+-\d{8}\.zip", re.IGNORECASE)


def read(path: Path) -> Iterator[Design | Problem]:
    """Yield the design grants below `path`, as they come, and the problems met.

    Reads `USD0909824-20210209/` with its XML and TIFFs, ZIPs of such folders, and weekly tars of
    such ZIPs (`I20210209.tar/DESIGN/USD0909824-20210209.ZIP`), nested up to four archives deep;
    also one XML with the drawings beside it.
    Only one grant at a time is in memory. Patents that are not designs are counted in one problem
    at the end. Of two grants with one number, the first is taken.
    """
    first: dict[str, str] = {}
    others = 0

    def other_grant(name: str) -> bool:
        nonlocal others
        found = _OTHER_GRANT.fullmatch(name) is not None
        others += found
        return found

    alone = path.is_file() and path.suffix.lower() == ".xml"
    for group in [_beside(path)] if alone else walk(path, skip=other_grant):
        if isinstance(group, Problem):
            yield group
            continue
        for item in _read_group(group):
            if item is None:
                others += 1
            elif isinstance(item, Design) and item.number in first:
                yield Problem(item.where, f"{item.number} again: the first is {first[item.number]}")
            else:
                if isinstance(item, Design):
                    first[item.number] = item.where
                yield item
    if others:
        yield Problem(
            str(path), f"{counted(others, 'grant', is_are=True)} not of a design: not read"
        )


def _beside(document: Path) -> Group:
    """Return one XML and the drawings of its folder that bear its name."""
    own = [
        file_entry(path)
        for path in sorted(document.parent.iterdir())
        if path == document
        or (is_image(path.name) and path.name.startswith(document.stem) and is_file(path))
    ]
    return Group((), str(document.parent), tuple(own))


def _read_group(group: Group) -> Iterator[Design | Problem | None]:
    """Yield what lies in one folder; None for a grant that is not of a design."""
    documents = [entry for entry in group.entries if _is_xml(entry)]
    drawings = [entry for entry in group.entries if is_image(entry.name)]
    for entry in group.entries:
        if not (_is_xml(entry) or is_image(entry.name) or is_noise(entry.name)):
            yield Problem(entry.where, "neither XML nor a drawing that can be read")
    if drawings and not documents:
        yield Problem(
            group.where, f"{counted(len(drawings), 'drawing')} without an XML beside them: not read"
        )
        return
    pieces = [piece for entry in documents for piece in _documents(entry)]
    named: set[str] = set()
    for where, data in pieces:
        if isinstance(data, Problem):
            yield data
            continue
        for item in _read_document(data, where, drawings, others=len(pieces) > 1):
            if isinstance(item, Design):
                named.update(sheet.name for sheet in item.sheets)
            yield item
    if len(pieces) > 1:
        for entry in drawings:
            if entry.name not in named:
                yield Problem(entry.where, "a drawing that no XML beside it names")


def _is_xml(entry: Entry) -> bool:
    return PurePosixPath(entry.name).suffix.lower() == ".xml"


def _documents(entry: Entry) -> Iterator[tuple[str, bytes | Problem]]:
    """Yield place and bytes of each document in a file: weekly files hold one after the other."""
    try:
        data = entry.read()
    except DrawingError as error:
        yield entry.where, problem_of(entry, error)
        return
    starts = [match.start() for match in re.finditer(rb"<\?xml\s", data)]
    if len(starts) < 2:
        yield entry.where, data
        return
    line = 1
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield f"{entry.where}:{line}", data[start:end]
        line += data.count(b"\n", start, end)


def _read_document(
    data: bytes, where: str, drawings: list[Entry], *, others: bool
) -> Iterator[Design | Problem | None]:
    try:
        root = parse(data)
    except expat.ExpatError as error:
        yield Problem(where, f"broken XML: {error}")
        return
    except UnsafeXml as error:
        yield Problem(where, f"unsafe XML, refused: it {error}")
        return
    except (ValueError, LookupError) as error:
        yield Problem(where, f"XML that cannot be read: {error}")
        return
    if root.tag != ROOT:
        yield Problem(where, f"not a grant: its root is {root.tag!r}, not {ROOT!r}")
    elif not is_design(root):
        yield None
    else:
        yield from read_grant(root, where, drawings, others=others)
