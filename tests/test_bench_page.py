"""The page of a benchmark: whole without a network, and each figure says what it shows."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib")

from edge_retrieval import bench_page
from edge_retrieval.bench_page.axes import scale, short
from edge_retrieval.bench_page.cards import Card, cards
from edge_retrieval.bench_page.points import points
from edge_retrieval.bench_page.svg import VARIABLES
from edge_retrieval.errors import MissingExtraError
from edge_retrieval.report import Measurement, Report
from edge_retrieval.report_table import GROUPS, headline, tables

NASTY = '<script>alert("1")</script> & {braces} %s $x$ --> #010101 id="q" font: 700 9px y; 図'
UNITS = re.compile(r"\b(ns|µs|ms|s|MB|kB|GB|B|mJ|J|W|1/s|°C|GHz)\b|share|percent|units", re.I)
STAGES = {"decode": 3e-3, "cut": 5e-3, "fit": 2e-3, "embed": 25e-3, "search": 1e-3, "print": 4e-4}


def contestant(precision: str, backend: str = "onnx", threads: int = 2) -> dict[str, str | int]:
    names = {"bundle": f"small-{precision}", "precision": precision}
    return {**names, "backend": backend, "threads": threads}


def measured() -> list[Measurement]:
    """One of everything that a bench measures, two contestants."""
    found = [
        Measurement("cold_start", "s", (0.4, 0.5), {"what": what})
        for what in ("python", "import", "search")
    ]
    for number, precision in enumerate(("int8", "fp32"), start=1):
        labels = contestant(precision)
        for stage, seconds in STAGES.items():
            samples = tuple(seconds * number * (1 + 0.01 * place) for place in range(20))
            found.append(Measurement("latency", "s", samples, {**labels, "stage": stage}))
        whole = tuple(sum(STAGES.values()) * number * (1 + 0.01 * place) for place in range(20))
        found.append(Measurement("latency", "s", whole, {**labels, "stage": "total"}))
        quality = {key: value for key, value in labels.items() if key != "threads"}
        quality |= {"metric": "mAP", "level": "design"}
        found.append(Measurement("quality", "1", (0.40 + 0.01 * number,), quality))
        found.append(Measurement("energy", "J", (0.1, 0.2), {**labels, "domain": "package-0"}))
        for threads in (1, 2):
            for batch in (1, 8):
                rate = {**labels, "threads": threads, "batch": batch}
                found.append(Measurement("throughput", "1/s", (40.0 * threads,), rate))
    for part in ("interpreter", "runtime", "model", "register"):
        for kind in ("rss", "pss", "peak"):
            found.append(Measurement("memory", "B", (2e7, 2.1e7), {"part": part, "kind": kind}))
    for figures in (10_000, 1_000_000):
        for index in ("exact", "first pass"):
            size = {"figures": figures, "index": index}
            found.append(Measurement("search_cost", "s", (figures * 1e-7,), size))
            found.append(Measurement("search_memory", "B", (figures * 512.0,), size))
    at = tuple(float(second) for second in range(300))
    sensor = {"sensor": "cpu-thermal"}
    found += [
        Measurement("sustained", "s", (0.04,) * 300, contestant("int8"), at),
        Measurement("temperature", "degC", tuple(50 + 0.1 * x for x in at), sensor, at),
        Measurement("clock", "Hz", (2.4e9,) * 300, {}, at),
        Measurement("throttled", "1", (0.0,) * 200 + (1.0,) * 100, {"counter": "now"}, at),
        Measurement("noise.reference", "s", (0.005,) * 300, {}, at),
        Measurement("noise.others", "1", (0.02,) * 300, {}, at),
        Measurement("power", "W", (3.0,), {"domain": "package-0", "doing": "idle"}),
        Measurement("load.encoder", "s", (0.2,)),
    ]
    return found


def made(**changes: object) -> Report:
    report = Report(
        "bench",
        tuple(measured()),
        host={"cpu": "Cortex-A76", "board": "Raspberry Pi 5", "memory": 8e9},
        versions={"edge-retrieval": "0.1.0"},
        settings={**contestant("int8"), "k": 10},
        created="2026-11-28T19:36:47+00:00",
        notes=("the machine was busy",),
    )
    return replace(report, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """Collects what a page is made of: tags, attributes, and the text of each kind of element."""

    VOID = frozenset(("meta", "br", "img", "path", "use"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data

    def of(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


@pytest.fixture(scope="module")
def html() -> str:
    return bench_page.page(made())


@pytest.fixture(scope="module")
def drawn() -> dict[str, Card]:
    return {card.table.group: card for card in cards(made())}


def test_the_page_opens_with_the_headline_and_what_to_beware_of(html):
    page = Page(html)
    [heading] = page.texts["h1"]
    assert heading.replace("\N{NO-BREAK SPACE}", " ") == headline(made())
    assert "The machine was busy" in page.texts["aside"][0]
    assert html.index("<aside") < html.index("<figure")
    assert "Raspberry Pi 5, measured 2026-11-28 19:36:47 UTC." in page.texts["header"][0]
    assert "<aside" not in bench_page.page(made(measurements=(), notes=()))


def test_every_question_has_its_card_and_every_measurement_its_row(html):
    page = Page(html)
    assert [title for title in page.texts["h2"] if title in GROUPS.values()] == [*GROUPS.values()]
    assert len(page.texts["tbody"]) == len(GROUPS)
    assert page.tags.count("td") == 4 * len(made().measurements)
    assert (
        page.tags.count("figure") == page.tags.count("svg") == len(GROUPS) - 1
    )  # "other" has none


def test_every_figure_has_a_caption_with_a_unit_and_a_name_for_screen_readers(html):
    page = Page(html)
    assert len(page.texts["figcaption"]) == page.tags.count("figure")
    for caption in page.texts["figcaption"]:
        assert UNITS.search(caption), caption
        assert caption.endswith(".")
    assert set(page.of("aria-label")) <= set(GROUPS.values())


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(html):
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "img", "image", "style "} & set(page.tags)
    assert page.tags.count("style") == 1  # that of a plot would hold for the whole page
    assert not re.search(r"https?:|url\(|@import|javascript:|<!--|<\?xml", html)
    assert not page.of("src")
    assert all(address.startswith("#") for address in page.of("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "default-src 'none'" in html


def test_ids_are_unlike_and_every_reference_has_its_target(html):
    page = Page(html)
    assert len(page.of("id")) == len(set(page.of("id")))
    assert {address[1:] for address in page.of("href")} <= set(page.of("id"))


def test_plots_take_their_colours_from_the_theme_and_their_letters_from_the_page(html):
    plots = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-fA-F]{6}\b|font-family|font:", plots)
    assert "var(--ink)" in plots
    assert "<text" in plots
    style = html[html.index("<style>") : html.index("</style>")]
    light, dark = style.split("prefers-color-scheme: dark", 1)[0], style
    for variable in VARIABLES.values():
        assert f"{variable}:" in style
        assert dark.count(f"{variable}:") >= 2, variable
    assert "--ink" in light
    assert "@media print" in style


def test_what_machines_and_files_are_called_stays_text():
    labels = {**contestant("int8", NASTY), "stage": "total"}
    growth = [
        Measurement("search_cost", "s", (0.1,), {"figures": figures, "index": NASTY})
        for figures in (10, 1000)
    ]
    report = made(
        title=NASTY,
        measurements=(
            *growth,
            Measurement("latency", "s", (0.1, 0.2), labels),
            Measurement("latency", "s", (0.1, 0.2), {**contestant("int8"), "stage": "total"}),
        ),
        host={"cpu": NASTY, NASTY: {NASTY: [NASTY]}},
        versions={NASTY: NASTY},
        settings={NASTY: NASTY},
        notes=(NASTY,),
    )
    html = bench_page.page(report)
    assert "<script" not in html
    page = Page(html)
    assert page.texts["body"][0].count(NASTY) >= 10
    assert NASTY in page.texts["title"][0]
    assert NASTY in page.texts["aside"][0]
    assert any(text.startswith("<script>") for text in page.texts["text"])  # in a plot, shortened


@pytest.mark.parametrize("name", sorted({one.name for one in measured()}))
def test_what_was_not_measured_is_left_out_and_no_plot_is_empty(name):
    alone = tuple(one for one in measured() if one.name == name)
    for measurements in (alone, alone[:1]):
        report = made(measurements=measurements)
        page = Page(bench_page.page(report))
        titles = [title for title in page.texts["h2"] if title in GROUPS.values()]
        assert titles == [table.title for table in tables(report)]
        assert page.tags.count("td") == 4 * len(measurements)
        assert page.tags.count("path") >= page.tags.count("svg")
        assert page.tags.count("figure") == page.tags.count("figcaption")


@pytest.mark.parametrize("name", sorted({one.name for one in measured()}))
def test_a_single_zero_without_labels_or_times_is_shown(name):
    unit = next(one.unit for one in measured() if one.name == name)
    for at in ((), (0.0,)):
        report = made(measurements=(Measurement(name, unit, (0.0,), {}, at),), settings={})
        assert Page(bench_page.page(report)).tags.count("td") == 4


def test_a_report_of_nothing_is_a_page():
    page = Page(bench_page.page(made(measurements=(), host={}, versions={}, settings={}, notes=())))
    assert page.texts["h1"] == ["Bench."]
    assert "figure" not in page.tags


def test_equal_reports_are_equal_bytes(html):
    again = Report.from_json(made().to_json())
    assert bench_page.page(again) == html


def test_where_the_device_slowed_itself_down_is_shaded_and_said(drawn):
    slow = drawn["sustained"]
    assert "shaded: the device slowed itself down" in slow.caption
    assert slow.plot is not None
    assert ("■", "--s4-pale", "slowed down") in slow.plot.legend
    calm = tuple(
        replace(one, samples=(0.0,) * 300) if one.name == "throttled" else one
        for one in measured()
        if one.name in ("sustained", "throttled")
    )
    [never] = cards(made(measurements=calm))
    assert "never slowed itself down" in never.caption
    assert never.plot is not None
    assert never.plot.legend == ()


def test_a_caption_has_the_unit_that_its_axis_has():
    slow = (
        Measurement("clock", "Hz", (1.8e9, 1.5e9), {}, (1.0, 2.0)),  # as of a Raspberry Pi 4
        Measurement("sustained", "s", (2.1, 2.3), {}, (1.0, 2.0)),
    )
    [card] = cards(made(measurements=slow))
    assert "clock (MHz)" in card.caption.lower().replace("mhz", "MHz")
    assert "one search (s)" in card.caption.lower()


def test_every_colour_of_a_legend_is_one_of_the_page(html, drawn):
    style = html[html.index("<style>") : html.index("</style>")]
    legends = [line for card in drawn.values() if card.plot for line in card.plot.legend]
    assert legends
    assert all(f"{colour}:" in style for _, colour, _ in legends)


def test_names_of_points_that_lie_together_do_not_cover_one_another():
    names = [f"ONNX Runtime INT8, {count} threads" for count in range(1, 7)]
    found = {name: (0.040 + 1e-4 * place, 0.41) for place, name in enumerate(names)}
    svg = points("q", "Quality", found, x="one search", y="mAP", unit="s").svg
    labels = re.findall(r'<text style="([^"]*)" x="([\d.]+)" y="([\d.]+)">(ONNX[^<]*)', svg)
    assert [label[3] for label in labels] == names
    boxes = []
    for style, x, y, text in labels:
        width = 5.0 * len(text)  # narrower than any font's
        left = {"start": 0.0, "middle": -width / 2, "end": -width}
        side = re.search("text-anchor: ([a-z]+)", style)
        assert side is not None
        boxes.append((float(x) + left[side[1]], float(y), width))
    for place, (left, y, width) in enumerate(boxes):
        for other_left, other_y, other_width in boxes[:place]:
            apart = left >= other_left + other_width or other_left >= left + width
            assert apart or abs(y - other_y) > 10


@pytest.mark.parametrize(
    ("unit", "most", "expected"),
    [
        ("s", 0.041, (1e-3, "ms")), ("s", 90.0, (1.0, "s")), ("s", 0.0, (1e-9, "ns")),
        ("B", 93e6, (1e6, "MB")), ("Hz", 2.4e9, (1e9, "GHz")), ("degC", 50.0, (1.0, "°C")),
        ("1", 0.4, (1.0, "")), ("W", 3.0, (1.0, "W")), ("J", 0.1, (1e-3, "mJ")),
    ],
)  # fmt: skip
def test_an_axis_has_the_unit_that_suits_its_numbers(unit, most, expected):
    assert scale(unit, most) == expected


def test_long_names_are_cut_in_the_middle():
    assert short("ONNX Runtime INT8", 20) == "ONNX Runtime INT8"
    assert short("a" * 20 + "b" * 20, 10) == "aaaa…bbbbb"


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("edge_retrieval.bench_page.svg.find_spec", lambda name: None)
    assert importlib.util.find_spec("matplotlib")
    for call in (bench_page.require, lambda: bench_page.page(made())):
        with pytest.raises(
            MissingExtraError, match="needs the optional 'report' dependencies"
        ) as e:
            call()
        assert e.value.hint == "pip install 'edge-retrieval[report]'"
