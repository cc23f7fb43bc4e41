"""Which designs are compared: by class, date, applicant, source and number."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.design_number import us_digits
from edge_retrieval.errors import ConfigError, TaxonomyError
from edge_retrieval.register.classes import nodes_within
from edge_retrieval.register.columns import Columns

Mask = NDArray[np.bool_]
SHOWN = 6
"""So many near names are shown in a hint."""


class Filters(NamedTuple):
    """What the user asked for; a design must meet all of it, and of a list any one.

    Attributes:
        classes: Only these: "06", "06-01", a name of any level; with all that lies below.
        not_classes: None of these.
        before: Only designs dated before this day: "2021-03-04", "2021-03" or "2021".
        after: Only designs dated on this day or later. The date is that of publication, else that
            of filing; a design without one is left out, and counted.
        applicants: Only those with one of these texts in an applicant's name, in any case.
        not_applicants: None of those.
        sources: Only designs that were indexed from one of these.
        not_sources: None of those.
        designs: Only these numbers.
        not_designs: None of these.
    """

    classes: Sequence[str] = ()
    not_classes: Sequence[str] = ()
    before: str | None = None
    after: str | None = None
    applicants: Sequence[str] = ()
    not_applicants: Sequence[str] = ()
    sources: Sequence[str] = ()
    not_sources: Sequence[str] = ()
    designs: Sequence[str] = ()
    not_designs: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(value or value == "" for value in self)  # an empty date is a mistake to be told

    @property
    def text(self) -> str:
        """Say it after "all 18,412 designs": "in 06-01 before 2021-03-04"; "" if there is none."""
        parts = [
            _listed("in", self.classes),
            _listed("not in", self.not_classes),
            f"from {_day(self.after)} on" if self.after is not None else "",
            f"before {_day(self.before)}" if self.before is not None else "",
            _listed("by", self.applicants),
            _listed("not by", self.not_applicants),
            _listed("of source", self.sources),
            _listed("not of source", self.not_sources),
            _listed("among", self.designs),
            _listed("without", self.not_designs),
        ]
        return " ".join(part for part in parts if part)

    def choose(self, columns: Columns, *, where: Path) -> Chosen:
        """Return what meets it.

        Args:
            columns: Of the register.
            where: The register, for messages.

        Raises:
            TaxonomyError: No class is named so.
            ConfigError: No design, applicant or source is named so, or a date cannot be read.
        """
        if not self:
            return Chosen(None, columns.designs_count, columns.figures_count, 0, ())
        asked, found = _last.get(columns, ("", None))
        if found is None or asked != repr(self):
            found = self._choose(columns, where)
            _last[columns] = repr(self), found
        return found

    def _choose(self, columns: Columns, where: Path) -> Chosen:
        chosen = columns.alive.copy()
        notes: list[str] = []
        for names, mask_of, sense in (
            (self.classes, _classes, True),
            (self.not_classes, _classes, False),
            (self.applicants, _applicants, True),
            (self.not_applicants, _applicants, False),
            (self.sources, _sources, True),
            (self.not_sources, _sources, False),
            (self.designs, _designs, True),
            (self.not_designs, _designs, False),
        ):
            if names and sense:
                chosen &= mask_of(columns, names, where)
            for name in () if sense else names:
                try:
                    chosen &= ~mask_of(columns, [name], where)
                except (
                    ConfigError,
                    TaxonomyError,
                ) as error:  # what is not here need not be left out
                    notes.append(f"{error}: nothing was left out for it; {error.hint}")
        undated = 0
        if self.before is not None or self.after is not None:
            dates = np.where(columns.published > 0, columns.published, columns.filed)
            undated = int(np.count_nonzero(chosen & (dates == 0)))
            chosen &= dates > 0
            if self.before is not None:
                chosen &= dates < _number(self.before)
            if self.after is not None:
                chosen &= dates >= _number(self.after)
        rows = np.flatnonzero(chosen[columns.design_of])
        # A design whose figures could not be read has no row: nothing of it is compared.
        drawn = np.zeros(len(chosen), bool)
        drawn[columns.design_of[rows]] = True
        return Chosen(rows, int(np.count_nonzero(drawn)), len(rows), undated, tuple(notes))


class Chosen(NamedTuple):
    """What a filter leaves.

    Attributes:
        rows: ``(n,)`` int64, ascending: the figures' rows; None: all of living designs.
        designs: How many designs.
        figures: How many figures they have.
        undated: Designs left out only because their date is not known.
        notes: What was to be left out and is not here, a sentence each.
    """

    rows: NDArray[np.int64] | None
    designs: int
    figures: int
    undated: int
    notes: tuple[str, ...]


_last: WeakKeyDictionary[Columns, tuple[str, Chosen]] = WeakKeyDictionary()
"""What was last chosen of some columns: a session often asks the same again."""


def _classes(columns: Columns, names: Sequence[str], where: Path) -> Mask:
    nodes = nodes_within(dict(enumerate(columns.paths)), names, where=where)
    wanted = np.zeros(len(columns.paths), bool)
    wanted[nodes] = True
    return wanted[columns.node]


def _applicants(columns: Columns, names: Sequence[str], where: Path) -> Mask:
    folded = [name.casefold() for name in columns.applicants]
    matching = np.zeros(len(folded), bool)
    for name in names:
        found = [name.strip().casefold() in each for each in folded]
        if not name.strip() or not any(found):
            raise _unknown(where, "applicant", name, columns.applicants)
        matching |= found
    hits = np.concatenate([[0], np.cumsum(matching[columns.applicant_of])])
    starts = columns.applicant_starts
    mask: Mask = hits[starts[1:]] > hits[starts[:-1]]
    return mask


def _sources(columns: Columns, names: Sequence[str], where: Path) -> Mask:
    wanted = np.zeros(len(columns.sources), bool)
    for name in names:
        found = [name.strip().casefold() == each.casefold() for each in columns.sources]
        if not any(found):
            raise _unknown(where, "source", name, columns.sources)
        wanted |= found
    return wanted[columns.source]


def _designs(columns: Columns, numbers: Sequence[str], where: Path) -> Mask:
    mask = np.zeros(len(columns.alive), bool)
    for number in numbers:
        mask[find_design(columns, number, where=where)] = True
    return mask


def find_design(columns: Columns, number: str, *, where: Path) -> int:
    """Return the place of the living design that a user means by a number.

    Args:
        columns: Of the register.
        number: As it is kept, or in another spelling: "909824", "D909,824" and "usd0909824" all
            mean USD0909824, if no other design can be meant.
        where: The register, for messages.

    Raises:
        ConfigError: There is none, or more than one.
    """
    for spelling in (number.strip(), number.strip().upper()):
        if (place := columns.find(spelling)) is not None:
            return place
    wanted = us_digits(number)
    living = [int(at) for at in np.flatnonzero(columns.alive)]
    same = [at for at in living if wanted and us_digits(columns.number(at)) == wanted]
    if len(same) == 1:
        return same[0]
    if same:
        names = ", ".join(columns.number(at) for at in same[:SHOWN])
        raise ConfigError(
            f"{where}: {number!r} may be any of {len(same)} designs", hint=f"name one: {names}"
        )
    meant = re.sub(r"(?<=\d)[oO]", "0", number.strip())  # the letter for the figure
    near = [*near_numbers(columns, meant)]
    if (place := columns.find(meant)) is not None:
        near = [columns.number(place)]
    raise ConfigError(f"{where}: no design {number!r}", hint=_hint(near))


def near_numbers(columns: Columns, number: str) -> list[str]:
    """Return the numbers of living designs that stand around `number` in order."""
    order = columns.by_number
    key: Callable[[int], str] = lambda at: columns.number(int(order[at]))  # noqa: E731
    place = bisect.bisect_left(range(len(order)), number, key=key)
    around = order[max(0, place - SHOWN // 2) : place + SHOWN // 2]
    return [columns.number(int(design)) for design in around if columns.alive[design]]


def _unknown(where: Path, kind: str, name: str, known: Sequence[str]) -> ConfigError:
    """Say that nothing is named so, and what is."""
    import difflib

    folded = {each.casefold(): each for each in known if each}
    wanted = name.strip().casefold()
    near = [folded[found] for found in difflib.get_close_matches(wanted, folded, SHOWN, 0.5)]
    words = {word for each in folded for word in each.split()}
    for word in difflib.get_close_matches(wanted, words, SHOWN, 0.7):
        near += [each for text, each in folded.items() if word in text.split()]
    if not near and folded:
        more = f" and {len(folded) - SHOWN} more" if len(folded) > SHOWN else ""
        hint = f"{kind}s here: {', '.join(sorted(folded.values())[:SHOWN])}{more}"
    else:
        hint = _hint(list(dict.fromkeys(near))[:SHOWN])
    return ConfigError(f"{where}: no {kind} {name!r}", hint=hint)


def _hint(near: Iterable[str]) -> str:
    names = ", ".join(near)
    return f"near it: {names}" if names else "nothing here is named like it"


def _listed(word: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    listed = list(names)
    if len(listed) > SHOWN:
        listed = [*listed[: SHOWN - 1], f"{len(listed) - SHOWN + 1} more"]
    last = listed.pop()
    return f"{word} {', '.join(listed)}{' or ' if listed else ''}{last}"


def _day(date: str) -> str:
    """Return an ISO date in full; "2021" begins with its first day."""
    found = re.fullmatch(r"\s*(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?\s*", date)
    if not found:
        raise ConfigError(f"no date: {date!r}", hint="write 2021-03-04, 2021-03 or 2021")
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= month <= 12 and 1 <= day <= days[month - 1]):
        raise ConfigError(f"no such day: {date!r}", hint="write 2021-03-04, 2021-03 or 2021")
    return f"{year:04}-{month:02}-{day:02}"


def _number(date: str) -> int:
    return int(_day(date).replace("-", ""))
