"""The page in a real browser: what an examiner does, from the first drawing to the record."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import load_encoder
from edge_retrieval.evidence import read_record, replay
from edge_retrieval.register import Register
from edge_retrieval.sample import sample_folder, sample_query
from edge_retrieval.server import ServeSettings
from edge_retrieval.server.app import create_app
from edge_retrieval.sources import open_source

pytest.importorskip("playwright", reason="needs playwright")
pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'web'")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome here")

WHOLE = 24
"""So many designs have all their figures; the others one, so that the register is soon made."""

DESIGNS = 66
"""More than one page of the list of designs."""

KEPT = 6
"""So many drawings does the server keep."""

HOSTILE = '<img src="https://elsewhere.example/x.png" onerror="document.title=1"> & <b>Hat</b>'
APPLICANTS = ("Aalto Oy", "Bertoia Inc.", "Castiglioni S.p.A.")
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def designs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sample's sheets, with dates, applicants and one hostile title."""
    folder = tmp_path_factory.mktemp("page") / "designs"
    shutil.copytree(sample_folder(), folder)
    with (folder / "metadata.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    places = {number: i for i, number in enumerate(dict.fromkeys(row["design"] for row in rows))}
    kept, begun = [], set()
    for row in rows:
        place = places[row["design"]]
        if place >= DESIGNS or (place >= WHOLE and row["design"] in begun):
            continue
        begun.add(row["design"])
        row["published"] = f"{2005 + place % 15}-06-{place % 28 + 1:02d}"
        row["applicant"] = APPLICANTS[place % len(APPLICANTS)]
        row["title"] = HOSTILE if place == 1 else row["title"]
        kept.append(row)
    with (folder / "metadata.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


@pytest.fixture(scope="module")
def address(designs: Path) -> Iterator[str]:
    """The address of a server of these designs, in a thread."""
    bundle = Bundle.open(Path(__file__).parents[2] / "models" / "small")
    with Register.create(designs.parent / "register", bundle) as register:
        register.add(list(open_source(designs, kind="table")), load_encoder(bundle))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = create_app(designs.parent / "register", settings=ServeSettings(drawings=KEPT))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", http="h11"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Return what opens the page; at the end nothing may have gone wrong or elsewhere in it.

    Its `told` are patterns of what the browser's console may say: refusals that a test asks for.
    """
    contexts, wrong, allowed = [], [], []

    def start(*, told: tuple[str, ...] = (), at: str = "", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        allowed.extend(told)
        page = context.new_page()
        page.on(
            "console", lambda said: said.type in ("error", "warning") and wrong.append(said.text)
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda asked: wrong.append(f"dialog {asked.message}"))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith((address, "blob:", "data:"))
                or wrong.append(f"elsewhere: {asked.url}")
            ),
        )
        page.goto(address + at)
        page.get_by_text(f"with {DESIGNS} registered designs").wait_for(state="attached")
        return page

    yield start
    for context in contexts:
        context.close()
    assert [told for told in wrong if not any(re.search(one, told) for one in allowed)] == []


def show(page: Page, *files: Path) -> None:
    """Add drawings with the file chooser and wait for the answer."""
    with page.expect_response("**/api/search"):
        page.set_input_files("#files", list(files))
    settled(page)


def settled(page: Page) -> None:
    """Wait until no search is under way."""
    page.locator("#answer[aria-busy='false']").wait_for()
    page.locator(".hit").first.wait_for()


def sheet_of(designs: Path, number: str, place: int = 1) -> Path:
    return designs / "sheets" / f"{number}-D{place:05d}.png"


def expect_first(page: Page, number: str) -> None:
    """Wait until a design is the first hit."""
    page.locator(f".hit:first-child[data-design='{number}']").wait_for()


def numbers(page: Page) -> list[str]:
    """Return the numbers of the hits as they stand on the page."""
    return page.locator(".hit").evaluate_all("items => items.map(item => item.dataset.design)")


def assert_accessible(page: Page) -> None:
    """Hold the page against the rules of axe."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert [
        (one["id"], node["target"], node.get("failureSummary"))
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ] == []


def assert_fits(page: Page) -> None:
    """The page is not wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


DROP = """([name, data, type]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, { type: "image/png" }));
  const event = type === "paste"
    ? new ClipboardEvent("paste", { clipboardData: files, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


def hand_over(page: Page, file: Path, how: str) -> None:
    """Drop or paste a file."""
    data = base64.b64encode(file.read_bytes()).decode()
    with page.expect_response("**/api/search"):
        page.evaluate(DROP, [file.name, data, how])
    settled(page)


# ------------------------------------------------------------------ first sight and drawings


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_sight_names_the_register_and_says_where_to_drop(open_page, scheme):
    page = open_page(color_scheme=scheme)
    assert page.get_by_role("button", name="Add drawings: drop, paste or choose").is_visible()
    assert page.locator("#register").inner_text() == f"register {DESIGNS} designs"
    page.get_by_label("Designs to try with").get_by_role("button").nth(5).wait_for()
    assert "kept in its memory only" in page.get_by_role("contentinfo").inner_text()
    assert_accessible(page)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_drawing_that_comes_in_is_answered_with_designs(open_page, designs, how):
    page = open_page()
    hand_over(page, sheet_of(designs, "MADE-0203-00000"), how)
    assert numbers(page)[0] == "MADE-0203-00000"
    assert page.get_by_role("heading", level=1).inner_text().startswith("Designs like ")
    assert f"Compared exactly with all {DESIGNS} designs" in page.locator("#statement").inner_text()


def test_a_hit_shows_all_views_its_score_and_what_is_known_of_it(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"), sheet_of(designs, "MADE-0203-00000", 2))
    first = page.locator(".hit").first
    assert first.locator(".thumb").count() + first.locator(".more").count() >= 4
    told = first.inner_text()
    assert "4 of 4 views match; best pair view" in told
    assert "02-03 Headwear" in told
    assert "Published 2005-06-01" in told
    assert "Aalto Oy" in told
    assert "unrelated designs look" in told
    assert first.locator(".thumb.matches").count() == 4
    assert page.locator("#live").inner_text().startswith("24 designs found. Compared exactly")
    assert_accessible(page)


def test_a_sheet_is_cut_into_views_that_can_be_switched_off_and_removed(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000", 2))
    panel = page.get_by_label("Your drawings")
    assert "3 views found" in panel.inner_text()
    with page.expect_request("**/api/search") as asked:
        panel.get_by_role("checkbox", name=re.compile("^Search with figure 2 of")).uncheck()
    assert [view["figure"] for view in asked.value.post_data_json["views"]] == [1, 3]
    settled(page)
    assert panel.locator(".switch").all_inner_texts() == ["View 1", "Off", "View 2"]
    with page.expect_request("**/api/drawings?*whole=true"):
        panel.get_by_role("button", name="Take the sheet as one view").click()
    panel.get_by_role("button", name="Cut into its views").wait_for()
    assert panel.locator(".view").count() == 1
    panel.get_by_role("button", name=re.compile("^Remove MADE")).click()
    page.get_by_role("button", name="Add drawings: drop, paste or choose").wait_for()


def test_a_view_that_repeats_another_is_told_and_not_counted(open_page, designs, tmp_path):
    from PIL import Image

    with Image.open(sheet_of(designs, "MADE-0203-00000")) as image:
        image.save(tmp_path / "again.tif")
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"), tmp_path / "again.tif")
    again = page.get_by_label("Your drawings").get_by_label("again.tif", exact=True)
    assert "like view 1: not counted" in again.inner_text()


def test_hits_are_put_in_the_order_of_their_dates_and_keep_their_ranks(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    page.get_by_label("Order", exact=True).select_option("Newest first")
    told = page.locator("#hits").inner_text()
    dates = re.findall(r"Published (\S+)", told)
    assert dates == sorted(dates, reverse=True)
    ranks = [int(rank) for rank in page.locator(".hit .rank").all_inner_texts()]
    assert sorted(ranks) == list(range(1, 25))
    assert ranks != sorted(ranks)
    page.keyboard.press("j")
    page.get_by_label("Order", exact=True).select_option("Best first")
    assert numbers(page)[0] == "MADE-0203-00000"


def test_show_more_adds_hits_and_keeps_the_place(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    first = numbers(page)
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Show 24 more").click()
    page.locator(".hit:nth-child(48)").wait_for()
    assert numbers(page)[:24] == first
    assert page.evaluate("document.activeElement.querySelector('.rank').textContent") == "25"


def test_a_file_that_is_no_drawing_is_told_with_a_hint(open_page, tmp_path):
    (tmp_path / "letter.png").write_text("Dear examiner")
    page = open_page(told=("415",))
    page.set_input_files("#files", tmp_path / "letter.png")
    problem = page.locator(".problem")
    problem.wait_for()
    assert "not an image that can be read" in problem.inner_text()
    assert "use PNG" in problem.inner_text()
    page.get_by_text("No view is there to search with").wait_for()


def test_what_a_register_says_is_text_and_never_markup(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00001"))
    first = page.locator(".hit").first
    assert HOSTILE in first.locator("h3").inner_text()
    first.get_by_role("button", name="MADE-0203-00001", exact=True).click()
    page.locator("dialog.design .gallery").wait_for()
    assert HOSTILE in page.locator("#design-title").inner_text()
    assert page.locator("img[src*='elsewhere']").count() == 0


# ------------------------------------------------------------------ filters


def test_the_class_tree_filters_excludes_and_finds(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    tree = page.get_by_label("Classes", exact=True)
    page.get_by_role("searchbox", name="Classes: find").fill("headwear")
    with page.expect_response("**/api/search"):
        tree.get_by_role("button", name=re.compile("^02-03")).click()
    settled(page)
    hats = set(numbers(page))
    assert all(number.startswith("MADE-0203-") for number in hats)
    assert f"all {len(hats)} designs in 02-03" in page.locator("#statement").inner_text()
    with page.expect_response("**/api/search"):
        tree.get_by_role("button", name="Leave out 02-03").click()
    settled(page)
    assert not hats & set(numbers(page))
    page.get_by_role("searchbox", name="Classes: find").fill("")
    assert_accessible(page)
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Remove the filter: Not in 02-03").click()
    settled(page)
    assert numbers(page)[0] == "MADE-0203-00000"
    assert page.get_by_label("Active filters").count() == 0


def test_the_predicted_class_is_a_sentence_and_one_click(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"), sheet_of(designs, "MADE-0203-00000", 2))
    told = page.locator(".predicted")
    assert "nearest designs" in told.inner_text()
    with page.expect_response("**/api/search"):
        told.get_by_role("button", name=re.compile("^Search only in")).click()
    page.get_by_role("button", name=re.compile("^Remove the filter: In class")).wait_for()


def test_a_very_similar_design_outside_the_classes_searched_is_an_alarm(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"), sheet_of(designs, "MADE-0203-00000", 2))
    with page.expect_response("**/api/search"):
        page.get_by_label("Classes", exact=True).get_by_role(
            "button", name=re.compile("^06 ")
        ).click()
    alarm = page.get_by_role("region", name="Alarms")
    assert "MADE-0203-00000" in alarm.inner_text()
    assert "was left out by the class filter" in alarm.inner_text()
    assert_accessible(page)
    with page.expect_response("**/api/search"):
        alarm.get_by_role("button", name="Search in 02-03, too").first.click()
    settled(page)
    expect_first(page, "MADE-0203-00000")
    assert "MADE-0203-00000" not in page.locator("#alarms").inner_text()


def test_dates_and_applicants_filter_and_are_chips(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    page.get_by_label("Before", exact=True).fill("yesterday")
    page.get_by_label("Before", exact=True).press("Enter")
    assert "As 2021, 2021-03 or 2021-03-04" in page.locator(".dates").inner_text()
    with page.expect_response("**/api/search"):
        page.get_by_label("Before", exact=True).fill("2010")
        page.get_by_label("Before", exact=True).press("Enter")
    settled(page)
    page.locator("#applicants option").nth(2).wait_for(state="attached")
    page.get_by_label("Applicant", exact=True).fill("Aalto")
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Leave this applicant out").click()
    settled(page)
    chips = page.get_by_label("Active filters").get_by_role("listitem").all_inner_texts()
    assert chips == ["Not by Aalto", "Before 2010", "Clear all"]
    assert "before 2010-01-01 not by Aalto" in page.locator("#statement").inner_text()
    assert "Aalto Oy" not in page.locator("#hits").inner_text()
    with page.expect_response("**/api/search"):
        page.get_by_role("button", name="Clear all", exact=True).click()
    settled(page)
    assert numbers(page)[0] == "MADE-0203-00000"


# ------------------------------------------------------------------ compare, zoom


def test_pairs_are_compared_side_by_side_and_laid_over_each_other(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"), sheet_of(designs, "MADE-0203-00000", 2))
    page.get_by_role("button", name="Compare MADE-0203-00000").first.click()
    dialog = page.get_by_role("dialog", name="Compare")
    pairs = dialog.get_by_role("list", name="Pairs of views").get_by_role("listitem")
    pairs.nth(3).wait_for()
    assert pairs.count() == 4
    assert "matches" in pairs.first.inner_text()
    assert_accessible(page)
    pairs.nth(1).get_by_role("button", name=re.compile("^Overlay")).click()
    stage = dialog.locator(".overlay-stage")
    assert stage.locator("img").evaluate_all("all => all.every(one => one.src)")
    slider = dialog.get_by_role("slider", name="Your drawing")
    over, under = dialog.locator(".layer.over"), dialog.locator(".layer.under")
    slider.press("End")
    assert [over.evaluate("e => e.style.opacity"), under.evaluate("e => e.style.opacity")] == [
        "1",
        "0",
    ]
    slider.press("Home")
    assert [over.evaluate("e => e.style.opacity"), under.evaluate("e => e.style.opacity")] == [
        "0",
        "1",
    ]
    dialog.get_by_label("Colour the differences").uncheck()
    assert "tint" not in stage.get_attribute("class")
    dialog.get_by_label("Flip MADE-0203-00000").check()
    assert over.locator("img.flip").count() == 1
    assert_accessible(page)
    with page.expect_response("**/api/search") as asked:  # another hit takes the query's place
        dialog.get_by_label("Left", exact=True).select_option(index=2)
    assert asked.value.request.post_data_json["filters"] == {"designs": ["MADE-0203-00000"]}
    page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_the_tint_colours_what_only_one_drawing_has(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.get_by_role("list", name="Pairs of views").wait_for()
    page.keyboard.press("o")
    stage = page.locator(".overlay-stage")
    stage.locator("img").evaluate_all("all => Promise.all(all.map((one) => one.decode()))")
    assert {"blue", "orange"} <= inks(stage.screenshot())
    page.get_by_label("Colour the differences").uncheck()
    assert not {"blue", "orange"} & inks(stage.screenshot())


def inks(picture: bytes) -> set[str]:
    """Return the colours of which a screenshot has more than a few pixels."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)[8:-8, 8:-8]
    blue = pixels[..., 2] - pixels[..., 0]  # (H, W)
    return {name for name, mask in (("blue", blue > 90), ("orange", blue < -90)) if mask.sum() > 50}


def test_a_drawing_is_zoomed_by_wheel_keys_and_buttons(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    page.get_by_role("button", name=re.compile("^Zoom Figure 1 of MADE-0203-00000")).click()
    dialog = page.locator("dialog.zoom")
    scale = dialog.locator("output")
    assert scale.inner_text() == "100 %"
    page.keyboard.press("+")
    assert scale.inner_text() == "125 %"
    page.mouse.move(600, 500)
    page.mouse.wheel(0, -400)
    scale.get_by_text(re.compile("^2[0-9]{2} %$")).wait_for()
    dialog.get_by_role("button", name="Fit").click()
    assert scale.inner_text() == "100 %"
    page.keyboard.press("]")
    assert dialog.get_by_role("heading").inner_text().startswith("Figure 2 of MADE-0203-00000")
    page.keyboard.press("Escape")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("Zoom Figure 1 of MADE-0203-00000")


# ------------------------------------------------------------------ flags and export


def test_a_flagged_design_and_its_note_are_in_record_report_and_citations(open_page, designs):
    page = open_page()
    show(page, sheet_of(designs, "MADE-0203-00000"))
    found = numbers(page)[1]
    card = page.locator(f".hit[data-design='{found}']")
    card.get_by_role("button", name=f"Flag {found} as relevant").click()
    card.get_by_role("textbox", name=f"Note on {found}").fill("the same brim, <wider>")
    page.get_by_role("link", name="Flagged 1").click()
    listed = page.get_by_label("Flagged designs")
    assert listed.get_by_role("textbox").input_value() == "the same brim, <wider>"
    assert_accessible(page)
    listed.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export this search")
    assert found in dialog.inner_text()
    dialog.get_by_label("Notes").fill("Searched all classes.")
    assert_accessible(page)
    saved = {}
    for what in ("record", "report", "citations"):
        with page.expect_download() as download:
            dialog.get_by_role("button", name=f"Save {what}").click()
        saved[download.value.suggested_filename.rpartition(".")[2]] = (
            download.value.path().read_text()
        )
    record = json.loads(saved["json"])
    assert record["kind"] == "edge-retrieval search record"
    assert "the same brim, <wider>" in json.dumps(record)
    assert found in json.dumps(record)
    assert "Searched all classes." in json.dumps(record)
    told = read_record(saved["json"].encode(), where="exported")  # and it proves what was found
    with Register.open(designs.parent / "register") as register:
        replayed = replay(told, register, load_encoder(register.bundle))
    assert replayed.identical, replayed.changes
    [line] = [row for row in csv.DictReader(io.StringIO(saved["csv"])) if row["design"] == found]
    assert line["note"] == "the same brim, <wider>"
    assert "the same brim, &lt;wider&gt;" in saved["html"]


def test_the_record_holds_the_drawings_only_if_asked(open_page, designs):
    page = open_page()
    query = sheet_of(designs, "MADE-0203-00000")
    show(page, query)
    data = base64.b64encode(query.read_bytes()).decode()[:400]
    held = []
    page.keyboard.press("e")
    for _ in range(2):
        with page.expect_download() as download:
            page.get_by_role("button", name="Save record").click()
        held.append(data in download.value.path().read_text())
        page.get_by_label("Put the drawings into the record").uncheck()
    assert held == [True, False]


# ------------------------------------------------------------------ the register


def test_the_register_is_browsed_by_class_and_page_and_a_design_is_the_next_query(open_page):
    page = open_page(at="#browse")
    place = page.get_by_label("Designs of the register")
    place.get_by_text("1 to 60").first.wait_for()
    assert_accessible(page)
    place.get_by_role("button", name="Next page").first.click()
    place.get_by_text(f"61 to {DESIGNS}").first.wait_for()
    page.get_by_label("Classes of the register", exact=True).get_by_role(
        "button", name=re.compile("^02 ")
    ).click()
    page.get_by_role("heading", name=re.compile(r"^Class 02 \d designs$")).wait_for()
    place.get_by_role("button", name="Open MADE-0203-00000").click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".gallery .picture").nth(3).wait_for()
    assert "Aalto Oy" in dialog.inner_text()
    assert_accessible(page)
    with page.expect_response("**/api/search"):
        dialog.get_by_role("button", name="More like this").click()
    settled(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Designs like MADE-0203-00000"
    assert "MADE-0203-00000" not in numbers(page)
    with page.expect_response("**/api/search"):
        page.get_by_label("Leave out designs by Aalto Oy").check()
    settled(page)
    page.locator("#statement").get_by_text("not by Aalto Oy").wait_for()
    assert "Aalto Oy" not in page.locator("#hits").inner_text()


def test_a_design_can_be_tried_from_the_first_sight(open_page):
    page = open_page()
    with page.expect_response("**/api/search"):
        page.get_by_label("Designs to try with").get_by_role("button").first.click()
    settled(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Designs like MADE-0203-00000"
    assert page.get_by_label("Your drawings").locator(".view").count() == 4


# ------------------------------------------------------------------ keyboard, screens


def test_all_that_matters_is_done_with_the_keyboard(open_page, designs):
    page = open_page()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add drawings: drop").focus()
        page.keyboard.press("/")
    with page.expect_response("**/api/search"):
        chooser.value.set_files(sheet_of(designs, "MADE-0203-00000"))
    settled(page)
    found = numbers(page)

    def at() -> str:
        return page.evaluate("document.activeElement.closest('.hit')?.dataset.design ?? ''")

    page.keyboard.press("j")
    assert at() == found[0]
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert at() == found[1]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("f")
    page.keyboard.press("n")
    page.keyboard.type("close")
    page.keyboard.press("Escape")
    assert at() == found[1]
    for key, dialog in (("Enter", "design"), ("c", "compare"), ("z", "zoom"), ("?", "help")):
        page.keyboard.press(key)
        page.locator(f"dialog.{dialog}[open]").wait_for()
        page.keyboard.press("Escape")
        page.locator("dialog[open]").wait_for(state="hidden")
        assert at() == found[1], f"the focus does not come back after {dialog}"
    page.keyboard.press("l")
    assert page.get_by_role("textbox", name=f"Note on {found[1]}").input_value() == "close"
    page.keyboard.press("s")
    page.keyboard.press("j")
    with page.expect_request("**/api/search") as asked:
        page.keyboard.press("m")
    assert "design" in asked.value.post_data_json
    settled(page)


def test_the_keys_are_told_and_the_help_is_sound(open_page):
    page = open_page()
    page.keyboard.press("?")
    assert "Compare it with your drawing" in page.get_by_role("dialog", name="Keys").inner_text()
    assert_accessible(page)


def test_a_phone_shows_everything_without_scrolling_sideways(open_page, designs):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    assert_fits(page)
    show(page, sheet_of(designs, "MADE-0203-00000"), sheet_of(designs, "MADE-0203-00000", 2))
    assert_fits(page)
    assert_accessible(page)
    page.locator("#filters summary").click()
    page.get_by_role("searchbox", name="Classes: find").wait_for()
    assert_fits(page)
    page.get_by_role("button", name="Compare MADE-0203-00000").first.click()
    page.get_by_role("list", name="Pairs of views").wait_for()
    assert_fits(page)
    page.get_by_role("button", name="Overlay", exact=True).click()
    page.locator(".overlay-stage").wait_for()
    assert_fits(page)
    assert_accessible(page)
    page.keyboard.press("Escape")
    for place in ("browse", "flagged"):
        page.locator(f"#to-{place}").click()
        page.locator(f"#{place}").wait_for()
        assert_fits(page)


def test_the_dark_page_keeps_drawings_on_white_paper_and_remembers_a_choice(open_page, designs):
    page = open_page(color_scheme="dark")
    show(page, sheet_of(designs, "MADE-0203-00000"))
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(25, 24, 23)"
    paper = page.locator(".hit .paper").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert_accessible(page)
    page.get_by_role("button", name="Colours: system").click()
    assert page.evaluate(ground) == "rgb(246, 245, 242)"
    page.reload()
    page.get_by_role("button", name="Colours: light").wait_for()
    assert page.evaluate(ground) == "rgb(246, 245, 242)"


# ------------------------------------------------------------------ when something is amiss


def test_a_drawing_that_the_server_forgot_is_sent_again_by_itself(open_page, designs):
    page = open_page(told=("404",))
    show(page, sheet_of(designs, "MADE-0203-00000"))
    other = base64.b64encode(sample_query().read_bytes()).decode()
    for _ in range(KEPT):
        page.request.post(
            page.url.partition("#")[0] + "api/drawings?name=other.png", data=base64.b64decode(other)
        )
    with page.expect_response(lambda answer: "/api/drawings" in answer.url and answer.ok):
        page.get_by_label("Classes", exact=True).get_by_role(
            "button", name=re.compile("^02 ")
        ).click()
    page.get_by_role("button", name="Remove the filter: In class 02").wait_for()
    settled(page)
    page.locator("#statement").get_by_text("designs in 02 (").wait_for()
    assert page.locator(".failed").count() == 0


def test_a_busy_server_is_told_and_asked_again(open_page, designs):
    page = open_page(told=("503",))
    answers = iter([{"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "busy"}}])

    def answer(route: Any) -> None:
        once = next(answers, None)
        if once is None:
            route.continue_()
        else:
            route.fulfill(**once)

    page.route("**/api/search", answer)
    page.set_input_files("#files", sheet_of(designs, "MADE-0203-00000"))
    page.get_by_text("The server is busy with other searches. Trying again in 1 s.").wait_for()
    settled(page)
    page.locator("#banner").wait_for(state="hidden")
    assert numbers(page)[0] == "MADE-0203-00000"


@pytest.mark.parametrize("status", [409, 503])
def test_a_store_that_is_away_or_behind_is_told_at_once_and_searched_again(
    open_page, designs, status
):
    page = open_page(told=(str(status),), viewport=PHONE)
    told = {"error": "grants: it is away", "hint": "push it again"}
    page.route(
        "**/api/search", lambda route: route.fulfill(status=status, json=told), times=1
    )  # without Retry-After: nobody knows when
    page.set_input_files("#files", sheet_of(designs, "MADE-0203-00000"))
    page.locator(".failed").get_by_text("grants: it is away").wait_for()
    assert "push it again" in page.locator(".failed").inner_text()
    assert page.locator("#banner").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert_accessible(page)
    page.get_by_role("button", name="Search again").click()
    settled(page)
    assert page.locator(".failed").count() == 0
    assert numbers(page)[0] == "MADE-0203-00000"


@pytest.mark.parametrize(("local", "said"), [(True, "Nothing leaves"), (False, "no drawing")])
def test_the_page_says_what_goes_to_a_store(open_page, local, said):
    page = open_page()

    def with_store(route: Any) -> None:
        told = route.fetch().json()
        told["store"] = {"collection": "grants", "server": "Milvus 2.5.3", "local": local}
        route.fulfill(json=told)

    page.route("**/api/status", with_store)
    page.reload()
    page.locator("#versions").get_by_text("store grants (Milvus 2.5.3)").wait_for()
    assert said in page.locator("#promise").inner_text()


def test_pictures_of_a_register_that_was_rewritten_are_asked_for_anew(open_page, designs):
    page = open_page(told=("410",))
    show(page, sheet_of(designs, "MADE-0203-00000"))
    page.route("**/api/pictures/**", lambda route: route.fulfill(status=410), times=1)
    with page.expect_request("**/api/search"):
        page.locator(".hit img").first.evaluate("one => one.src = one.getAttribute('src') + '?'")
    settled(page)


def test_a_server_that_is_gone_is_told_and_the_page_goes_on_when_it_is_back(open_page, designs):
    page = open_page(told=("ERR_INTERNET_DISCONNECTED",))
    page.context.set_offline(True)
    page.set_input_files("#files", sheet_of(designs, "MADE-0203-00000"))
    page.locator("#banner").get_by_text("The server does not answer").wait_for()
    page.context.set_offline(False)
    settled(page)
    page.locator("#banner").wait_for(state="hidden")
    assert numbers(page)[0] == "MADE-0203-00000"
