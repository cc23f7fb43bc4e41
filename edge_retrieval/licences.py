"""What is installed because of this program, under which licence, and whose the shipped data are.

Asked of the metadata that each distribution was installed with; nothing is looked up elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edge_retrieval.requirements import (
    Requirement,
    applies,
    environment,
    normal,
    parse_requirement,
)

if TYPE_CHECKING:
    from edge_retrieval.bundle import Bundle

OURS = "edge-retrieval"
BASE = "base"
"""The part that is installed without extras."""

LONGEST = 80
"""Letters of a licence's name; some write the whole licence where its name belongs."""

NOT_TOLD = "not told"
HOMES = ("homepage", "home", "source", "repository", "source code", "github", "documentation")
"""Names that distributions give to their home page, the best first."""

CODE = "edge-retrieval: Apache-2.0; its text is in the file LICENSE of the installed package"
LOCARNO = (
    "Locarno Classification: codes and headings are WIPO's, copyright WIPO, reproduced with"
    " acknowledgement as its terms permit; not an official edition;"
    " https://www.wipo.int/classifications/locarno/en/"
)
SAMPLE = "sample drawings: made by edge-ret data synth, no real designs; Apache-2.0, like the code"
LDRAW = (
    "trained also on drawings of LDraw parts: LDraw Parts Library, by its authors and LDraw.org,"
    " CC BY 2.0, https://creativecommons.org/licenses/by/2.0/, https://www.ldraw.org; changed:"
    " drawn as lines"
)


@dataclass(frozen=True)
class Installed:
    """One distribution that is installed because of this program.

    Attributes:
        name: As it calls itself.
        version: Its version.
        licence: As it says itself; "not told" where it says nothing.
        told_by: "License-Expression", "License", "Classifier", or the name of the file of whose
            beginning it is; "" where all are silent.
        home: Its home page; "" where it names none.
        parts: "base", or the names of our extras that need it, directly or through others.
        needs: Names of the distributions that it needs here, normalised.
        direct: Whether we name it ourselves; else others of these do.
        record_sha256: Of its list of installed files, which holds the hash of each; "" without one.
    """

    name: str
    version: str
    licence: str
    told_by: str
    home: str
    parts: tuple[str, ...]
    needs: tuple[str, ...]
    direct: bool
    record_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Inventory:
    """All that is installed because of this program.

    Attributes:
        parts: "base" and the extras of which everything is installed.
        distributions: By name, ours left out.
        missing: Names that the base install needs here and that are not installed.
    """

    parts: tuple[str, ...]
    distributions: tuple[Installed, ...]
    missing: tuple[str, ...]


def inventory(root: str = OURS) -> Inventory:
    """Return what is installed because of a distribution: for its base, and for each extra.

    An extra counts if all that it names itself is installed.

    Args:
        root: A distribution that is installed.

    Raises:
        PackageNotFoundError: It is not: the program runs from a folder that nobody installed.
    """
    here = environment()
    ours = metadata.distribution(root)
    found, missing = _reached(root, (), here)
    parts = {name: [BASE] for name in found}
    direct = {need.name for need in _needs(ours, (), here)}
    whole = [BASE]
    for extra in sorted(map(normal, ours.metadata.get_all("Provides-Extra") or ())):
        named = _named(ours, (extra,), here)
        if not all(_distribution(name) for name in named):
            continue
        whole.append(extra)
        direct |= named
        for name in sorted(_reached(root, (extra,), here)[0] - found):
            parts.setdefault(name, []).append(extra)
    told = [_told(name, parts[name], here, direct=name in direct) for name in sorted(parts)]
    return Inventory(tuple(whole), tuple(told), tuple(sorted(missing)))


def _named(
    ours: metadata.Distribution, extras: tuple[str, ...], here: Mapping[str, str]
) -> set[str]:
    """Return the names that we give ourselves for some extras, those that they take up included."""
    own = normal(ours.metadata["Name"])
    needs = list(_needs(ours, extras, here))
    taken = {extra for need in needs if need.name == own for extra in need.extras} - {*extras}
    inner = _named(ours, tuple(sorted(taken)), here) if taken else set()
    return {need.name for need in needs if need.name != own} | inner


def _reached(
    root: str, extras: tuple[str, ...], here: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """Return the names that one needs, directly or through others: installed ones, others."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    left = [(normal(root), extras)]
    found: set[str] = set()
    missing: set[str] = set()
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        distribution = _distribution(one[0])
        if distribution is None:
            missing.add(one[0])
            continue
        found.add(one[0])
        left += [(need.name, need.extras) for need in _needs(distribution, one[1], here)]
    return found - {normal(root)}, missing


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _needs(
    distribution: metadata.Distribution, extras: Sequence[str], here: Mapping[str, str]
) -> Iterator[Requirement]:
    for line in distribution.requires or ():
        need = parse_requirement(line)
        if applies(need.marker, extras, here):
            yield need


def _told(name: str, parts: Sequence[str], here: Mapping[str, str], *, direct: bool) -> Installed:
    distribution = metadata.distribution(name)
    licence, told_by = licence_of(distribution.metadata)
    if not told_by:
        licence, told_by = _by_its_file(distribution)
    record = distribution.read_text("RECORD")
    needs = {need.name for need in _needs(distribution, (), here)}
    return Installed(
        name=distribution.metadata["Name"],
        version=distribution.version,
        licence=licence,
        told_by=told_by,
        home=home_of(distribution.metadata),
        parts=tuple(parts),
        needs=tuple(sorted(need for need in needs if _distribution(need))),
        direct=direct,
        record_sha256=hashlib.sha256(record.encode()).hexdigest() if record else "",
    )


def licence_of(told: metadata.PackageMetadata) -> tuple[str, str]:
    """Return the licence that metadata tell, and by which of their fields."""
    if expression := _field(told, "License-Expression"):
        return expression, "License-Expression"
    written = _field(told, "License")
    if written.upper() in ("UNKNOWN", "NONE"):
        written = ""
    if written and "\n" not in written and len(written) <= LONGEST:
        return written, "License"
    classified = [
        line.rsplit("::", 1)[1].strip()
        for line in told.get_all("Classifier") or ()
        if line.startswith("License ::") and not line.endswith(":: OSI Approved")
    ]
    if classified:
        return ", ".join(classified), "Classifier"
    if written:  # the whole text: its first line is its title
        return " ".join(written.splitlines()[0].split())[:LONGEST], "License"
    return NOT_TOLD, ""


def _field(told: metadata.PackageMetadata, name: str) -> str:
    values = told.get_all(name) or [""]
    return str(values[0]).strip()


def _by_its_file(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return how the first licence file begins, and its name."""
    for name in distribution.metadata.get_all("License-File") or ():
        text = distribution.read_text(f"licenses/{name}") or distribution.read_text(name) or ""
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        if lines:
            return " ".join(lines[:2])[:LONGEST], name
    return NOT_TOLD, ""


def home_of(told: metadata.PackageMetadata) -> str:
    """Return the home page that metadata name; "" where they name none."""
    if (home := _field(told, "Home-page")) and home.upper() != "UNKNOWN":
        return home
    named: dict[str, str] = {}
    for line in told.get_all("Project-URL") or ():
        label, _, address = line.partition(",")
        named.setdefault(label.strip().lower(), address.strip())
    best = [named[label] for label in HOMES if label in named]
    return (best or list(named.values()) or [""])[0]


def notices(bundle: Bundle | None) -> tuple[str, ...]:
    """Return whose the code, the data and the encoder are, a line each.

    Args:
        bundle: The encoder; what it was trained on is told where it knows. None: none is at hand.
    """
    told = [CODE, LOCARNO, SAMPLE]
    if bundle is not None:
        told += [f"encoder {bundle.name}: {line}" for line in _of_encoder(bundle)]
    return tuple(told)


def _of_encoder(bundle: Bundle) -> Iterator[str]:
    training = bundle.provenance.get("training")
    sources = training.get("sources") if isinstance(training, Mapping) else None
    if not isinstance(sources, list):
        yield "what it was trained on is not told"
        return
    yield f"trained on {', '.join(map(str, sources))}; its own files say more: CARD.md"
    if any("ldraw" in str(source).lower() for source in sources):
        yield LDRAW
