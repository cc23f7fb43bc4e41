"""Files in folders, ZIPs and tars, one inside the other, without unpacking anything to disk.

Every reader sees the same thing: groups of files that lie together, whether in a folder or in an
archive. Bytes are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import current, flag, raising, read_within
from edge_retrieval.sources.archives import Place, members, read_place
from edge_retrieval.sources.compressed import TAR_SUFFIXES
from edge_retrieval.sources.design import Problem

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".pdf"})
# What lies beside drawings and surely is none; anything else that is not read is reported.
NOISE = """txt md rst html htm css js dtd ent xsl xml log db ini url lnk json jsonl csv tsv parquet
py sh yaml yml toml sha256 md5 lst"""
NOISE_SUFFIXES = frozenset(f".{suffix}" for suffix in NOISE.split())


@dataclass(frozen=True)
class Entry:
    """One file of a group; `read` returns its bytes or raises `DrawingError`."""

    name: str
    where: str
    read: Callable[[], bytes] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Group:
    """Files that lie together in one folder or at one level of an archive, by name.

    `parts` are the folders from the root of the source down to here.
    """

    parts: tuple[str, ...]
    where: str
    entries: tuple[Entry, ...]


def is_image(name: str) -> bool:
    """Say whether a file is a drawing, by its suffix."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_noise(name: str) -> bool:
    """Say whether a file is surely no drawing: what may be left out without a word."""
    return is_hidden(name) or PurePosixPath(name).suffix.lower() in NOISE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Say whether a system put the file there: no person means it as a drawing."""
    return name.startswith((".", "__MACOSX")) or name == "Thumbs.db"


def is_archive(name: str) -> bool:
    """Say whether a file is a ZIP or tar, by its suffix."""
    return name.lower().endswith((".zip", ".tar", *TAR_SUFFIXES))


def problem_of(entry: Entry, error: DrawingError) -> Problem:
    """Return the problem that `entry.read` met."""
    return Problem(entry.where, str(error).removeprefix(f"{entry.where}: "))


def file_entry(path: Path) -> Entry:
    """Return a file on disk as an entry."""
    return Entry(path.name, str(path), partial(_read_file, path))


def _never(name: str) -> bool:
    return False


def is_file(path: Path) -> bool:
    """Say whether a file is there to be read; pathlib raises where a name is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def walk(path: Path, *, skip: Callable[[str], bool] = _never) -> Iterator[Group | Problem]:
    """Yield the groups of files below `path`: a folder, an archive or one file.

    `skip` is asked the name of each file and archive; what it says True to is passed over unopened.
    """
    if path.is_dir():
        yield from _walk_folder(path, (), (), skip)
    elif is_archive(path.name):
        yield from _walk_archive(Place.of(path), str(path), path.name, (), 1, skip)
    else:
        yield Group((), str(path.parent), (file_entry(path),))


def _walk_folder(
    folder: Path,
    parts: tuple[str, ...],
    above: tuple[tuple[int, int], ...],
    skip: Callable[[str], bool],
) -> Iterator[Group | Problem]:
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        names = sorted(path.name for path in folder.iterdir() if not is_hidden(path.name))
        folders = {name for name in names if (folder / name).is_dir()}
    except OSError as error:
        yield Problem(str(folder), f"cannot be listed: {error.strerror}")
        return
    if here in above:
        yield Problem(str(folder), "links back to a folder above it: not followed")
        return
    names = [name for name in names if name in folders or not skip(name)]
    plain: list[Entry] = []
    for name in names:
        if name in folders:
            continue
        if not is_file(folder / name):
            yield Problem(str(folder / name), "a broken link or a device: not read")
        elif not is_archive(name):
            plain.append(file_entry(folder / name))
    if plain:
        yield Group(parts, str(folder), tuple(plain))
    for name in [name for name in names if name in folders or is_archive(name)]:
        path = folder / name
        if name in folders:
            yield from _walk_folder(path, (*parts, name), (*above, here), skip)
            continue
        if not is_file(path):  # told above
            continue
        try:
            place = Place.of(path)
        except OSError as error:
            yield Problem(str(path), f"cannot be read: {error.strerror}")
            continue
        yield from _walk_archive(place, str(path), name, (*parts, _stem(name)), 1, skip)


def _walk_archive(
    place: Place,
    where: str,
    name: str,
    parts: tuple[str, ...],
    depth: int,
    skip: Callable[[str], bool],
) -> Iterator[Group | Problem]:
    """Yield the groups of one archive, then those of the archives in it."""
    if depth > current().depth:
        yield Problem(
            where, f"lies more than {current().depth} archives deep ({flag('depth')}): not opened"
        )
        return
    found: dict[str, Place] = {}
    for number, item in enumerate(members(place, where, name)):
        if number >= current().members:
            yield Problem(
                where, f"its members are {current().told('members')}: the rest is not read"
            )
            break
        if isinstance(item, Problem):
            yield item
        elif item[0] in found:
            yield Problem(f"{where}!{item[0]}", "a second member of this name: not read")
        elif not _passed_over(item[0], skip):
            found[item[0]] = item[1]
    groups: dict[str, list[Entry]] = {}
    for member, inside in found.items():
        if not is_archive(member):
            path = PurePosixPath(member)
            read = partial(read_place, inside, f"{where}!{member}")
            entry = Entry(path.name, f"{where}!{member}", read)
            groups.setdefault(str(path.parent), []).append(entry)
    for folder in sorted(groups):
        inner = () if folder == "." else PurePosixPath(folder).parts
        entries = tuple(sorted(groups[folder], key=lambda entry: entry.name))
        at = where if folder == "." else f"{where}!{folder}"
        yield Group(_joined(parts, inner), at, entries)
    for member, inside in sorted(found.items()):
        if is_archive(member):
            path = PurePosixPath(member)
            deeper = _joined(parts, (*path.parts[:-1], _stem(path.name)))
            yield from _walk_archive(
                inside, f"{where}!{member}", path.name, deeper, depth + 1, skip
            )


def _passed_over(member: str, skip: Callable[[str], bool]) -> bool:
    parts = PurePosixPath(member).parts
    return any(is_hidden(part) for part in parts) or skip(parts[-1] if parts else "")


def _joined(parts: tuple[str, ...], inner: tuple[str, ...]) -> tuple[str, ...]:
    # An archive often holds one folder of its own name: that is one folder, not two.
    return parts + (inner[1:] if parts and inner and inner[0] == parts[-1] else inner)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = read_within(file)
    except OSError as error:
        raise DrawingError(
            f"{path}: cannot be read: {error.strerror}", hint="check that it exists and its rights"
        ) from None
    if len(data) > current().bytes:
        raise DrawingError(f"{path}: {current().too_large()}", hint=raising("mb"))
    return data


def _stem(name: str) -> str:
    for suffix in (".zip", ".tar", *TAR_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
