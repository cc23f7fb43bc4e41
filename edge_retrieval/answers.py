"""What a search answers: designs, best first, and what was compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.plan import Plan
from edge_retrieval.query import Query
from edge_retrieval.register import DesignRecord, FigureRecord, Register
from edge_retrieval.voting import ClassVote

if TYPE_CHECKING:
    from edge_retrieval.calibration import Strength

THUMBNAIL = 160
"""Longest side of a drawing in a notebook, in pixels."""


class ViewMatch(NamedTuple):
    """What one view of the query found in a design.

    Attributes:
        view: Its place among the figures of the query, from 0.
        figure: The figure of the design that is most like it.
        score: Their cosine; of a mirrored pair that of the mirror image.
        matches: Whether fewer than `search.MATCH` of unrelated designs have a figure as like to
            this view; None where the register's bundle does not tell.
        mirrored: The figure is more like the view's mirror image than any is like the view. Told,
            not counted in the design's score.
    """

    view: int
    figure: FigureRecord
    score: float
    matches: bool | None = None
    mirrored: bool = False


@dataclass(frozen=True)
class Hit:
    """One design in the answer.

    Attributes:
        rank: From 1.
        score: Of one view, its largest cosine to any figure of the design; of several, the mean of
            the largest of these and their mean: see `index.views`.
        design: The design.
        figure: Of the pair of figures that are most alike, that of the design.
        query_figure: And that of the query, by its place from 0.
        strength: How rarely a design that is unrelated to the query has a pair of figures as alike;
            None where the register's bundle does not tell.
        pair: Cosine of that pair.
        views: What each view of the query found in the design, in their order.
    """

    rank: int
    score: float
    design: DesignRecord
    figure: FigureRecord
    query_figure: int
    strength: Strength | None = None
    pair: float = 0.0
    views: tuple[ViewMatch, ...] = ()

    @property
    def matched(self) -> int | None:
        """How many views match; None where the register's bundle does not tell."""
        told = [view.matches for view in self.views]
        return None if None in told else sum(map(bool, told))

    @property
    def sentence(self) -> str:
        """Say it: "4 of 7 views match, 1 mirrored; best pair view 1 with figure 3"; "" of one."""
        if len(self.views) < 2:
            return ""
        best = f"best pair view {self.query_figure + 1} with figure {self.figure.figure}"
        if self.matched is None:
            return best
        mirrored = sum(view.mirrored and bool(view.matches) for view in self.views)
        as_well = f", {mirrored} mirrored" if mirrored else ""
        verb = "matches" if self.matched == 1 else "match"
        return f"{self.matched} of {len(self.views)} views {verb}{as_well}; {best}"


class Alarm(NamedTuple):
    """A design of another class that is very similar.

    Attributes:
        hit: The design, with its rank among all that were compared.
        beside: The class that it is outside of: "06-01"; of a filter as it is said: "in 06".
        filtered: Whether the filters left it out, by its class.
    """

    hit: Hit
    beside: str
    filtered: bool

    @property
    def sentence(self) -> str:
        """Say it: "USD0123456 (21-01) is very similar; it is not in 06-01"."""
        design = self.hit.design
        code = design.locarno or "/".join(design.labels[-1:]) or "class unknown"
        very = f"{design.number} ({code}) is very similar"
        if self.filtered:
            return f"{very} and was left out by the class filter: {self.beside}"
        return f"{very}; it is not in {self.beside}"


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        query: What was searched with.
        hits: Best first; equal scores in the order in which the designs were registered.
        compared_designs: How many designs the filters left.
        compared_figures: How many figures they have.
        exact: Whether every one of them was compared, or ruled out by a bound that cannot err;
            else a graph chose whom to compare.
        filters: What was asked for: "in 06-01 before 2021-03-04"; "" if nothing was.
        undated: Designs left out only because their date is not known.
        notes: What the filters were to leave out and is not here, a sentence each.
        overlap: Share of the ten nearest that the graph or the store finds, measured on this
            register; None: exact, or not measured.
        store: The store that found the candidates; "": none did.
        plan: How it was answered.
        seconds: Time by stage; the stages are shared by all queries of one call.
        same_views: For each view of the query the earlier one that it nearly repeats, by its place;
            None: none. Such a view does not count in the score.
        predicted: The class by the vote of the nearest; None: they have none.
        alarms: Very similar designs of other classes, also of such as the filters leave out.
        register: Where was searched: it has the drawings.
    """

    query: Query
    hits: list[Hit]
    compared_designs: int
    compared_figures: int
    exact: bool
    filters: str = ""
    undated: int = 0
    notes: tuple[str, ...] = ()
    overlap: float | None = None
    store: str = ""
    plan: Plan | None = field(default=None, compare=False, repr=False)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    same_views: tuple[int | None, ...] = ()
    predicted: ClassVote | None = None
    alarms: tuple[Alarm, ...] = ()
    register: Register | None = field(default=None, compare=False, repr=False)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the drawings of the query and of the hits, in a row."""
        from edge_retrieval.drawing import to_png
        from edge_retrieval.page import notebook_row

        cells = [
            (to_png(figure.pixels, side=THUMBNAIL), "your drawing" if one else f"view {view}", "")
            for view, figure in enumerate(self.query.figures, start=1)
            for one in [len(self.query.figures) == 1]
        ]
        register = self.register
        for hit in self.hits:
            told = " ".join(part for part in (hit.design.locarno or "", hit.design.title) if part)
            name = f"{hit.rank} {hit.design.number} {hit.score:.3f}"
            try:
                png = register.picture(hit.figure.row) if register is not None else b""
                cells.append((png, name, told))
            except (EdgeRetrievalError, OSError, ValueError):  # closed, or compacted since
                cells.append((b"", name, told))
        return notebook_row(cells, self.statement)

    @property
    def chance(self) -> str:
        """Say how many of so many unrelated designs look as close; "" where nobody measured it."""
        told: dict[str, int] = {}  # how many -> the last rank of which it is said
        for hit in (*self.hits[:1], *self.hits[-1:]):
            if hit.strength is not None:
                told[hit.strength.among(self.compared_designs)] = hit.rank
        if not told:
            return ""
        first, *others = (f"{many} as rank {rank}" for many, rank in told.items())
        said = ", ".join([first.replace(" as ", " as close as ", 1), *others])
        among = f"{self.compared_designs:,} unrelated designs hold"
        if self.compared_designs == 1:
            among = "1 unrelated design holds"
        return f"by chance {among} {said}"

    @property
    def statement(self) -> str:
        """Say what was searched and how well, in one line."""
        designs = f"{self.compared_designs:,}"
        figures = f"{self.compared_figures:,} figure{'s' * (self.compared_figures != 1)}"
        among = f"{self.filters} ({figures})".strip()
        unknown = f"; left out: {self.undated:,} of unknown date" if self.undated else ""
        if not self.compared_designs:
            return f"no design was left to compare with: none {self.filters}{unknown}".rstrip(": ")
        if self.exact and self.compared_designs == 1:
            among = f"{self.filters or 'there'} ({figures})"
            return f"compared exactly with the only design {among}{unknown}"
        if self.exact:
            others = "other designs" if self.query.design else "designs"
            return f"compared exactly with all {designs} {others} {among}{unknown}"
        on = "store" if self.store else "register"
        measured = (
            "" if self.overlap is None else f", overlap@10 {self.overlap:.2f} measured on this {on}"
        )
        if self.store:
            found = f"the store {self.store} found candidates among"
            return f"approximate{measured}: {found} {designs} designs {among}{unknown}"
        return f"approximate{measured}: a graph over {designs} designs {among}{unknown}"
