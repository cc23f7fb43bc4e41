"""What a source yields: designs with their sheets, and the problems met on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, NamedTuple


class Box(NamedTuple):
    """A rectangle in pixels of the sheet: left and top inclusive, right and bottom exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class Sheet:
    """One page of drawings: an image file that holds one or more figures.

    Attributes:
        name: File name within the design, unique there ("USD0909824-20210209-D00001.TIF").
        where: Where a person finds it, for messages; parts of an archive after "!".
        read: Returns the file's bytes; raises `DrawingError` if they cannot be had.
        role: "front" marks a front page that repeats a figure of another sheet.
        boxes: Where the figures are, if the source knows; None if the sheet is still to be cut.
        captions: What the source says of each figure, in the order of `boxes`; may be empty.
        single: The image is one figure already, cut out by somebody else: take it whole.
    """

    name: str
    where: str
    read: Callable[[], bytes] = field(repr=False, compare=False)
    role: Literal["drawing", "front"] = "drawing"
    boxes: tuple[Box, ...] | None = None
    captions: tuple[str, ...] = ()
    single: bool = False


@dataclass(frozen=True)
class Design:
    """What is registered: one patent or registration, the unit of a search result.

    Attributes:
        number: Its unique name ("USD0909824").
        labels: Label path above the design, coarse to fine: ("07", "07-03"); () if unknown.
        sheets: Its pages, in order.
        where: Where a person finds it, for messages.
        title: "Sport spoon".
        locarno: Locarno code as `NN-NN`, if known; also `labels[1]` where Locarno is the taxonomy.
        locarno_edition: "13".
        uspc: US classes, main first, normalised: ("D07/654", "D07/401.2").
        filed: ISO date of filing.
        published: ISO date of grant or publication.
        applicants: Names of applicants or assignees.
        descriptions: What the text says of FIG. 1, FIG. 2, ...
        stated_figures: How many figures the office says there are.
    """

    number: str
    labels: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    where: str
    title: str = ""
    locarno: str | None = None
    locarno_edition: str | None = None
    uspc: tuple[str, ...] = ()
    filed: str | None = None
    published: str | None = None
    applicants: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    stated_figures: int | None = None


@dataclass(frozen=True)
class Problem:
    """Something in a source that could not be read; work goes on and the user is told.

    Attributes:
        where: The path, with "!" into archives and ":12" for a line.
        reason: What is wrong, in one line.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class Note(Problem):
    """Something that deserves a look, though nothing was left out for it: a date that is none."""


def counted(number: int, thing: str, *, is_are: bool = False) -> str:
    """Say how many: "1 image", "2 images"; with the verb if wanted, "1 image is"."""
    several = number != 1
    verb = (" are" if several else " is") if is_are else ""
    return f"{number} {thing}{'s' if several else ''}{verb}"


def in_unicode(text: str) -> str:
    """Write out what is no letter: a file's name may be any bytes, a JSON text half an emoji."""
    return text.encode(errors="backslashreplace").decode()


def iso_date(text: str) -> str | None:
    """Return the date that `text` begins with (2021-02-09 or 20210209) as ISO; None if none."""
    digits = text[:10].replace("-", "")[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return None
