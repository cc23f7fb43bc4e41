"""What a watch found as one HTML page that needs nothing else: pairs of designs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edge_retrieval.evidence.data import class_of
from edge_retrieval.page import definitions, page, picture
from edge_retrieval.register import DesignRecord
from edge_retrieval.register.records import dates_of

SHOWN = 100
"""So many pairs of either kind are drawn; the others stand in a list."""
RUNS = 52
"""So many of the last times are named."""

_TRAINING = ("torch", "timm", "onnx", "nncf")  # never part of a watch
Told = Mapping[str, Any]


def watch_html(told: Told, pictures: Mapping[str, bytes]) -> str:
    """Return one page with the new pairs, strongest first, and those told before, folded away.

    It holds its pictures and its style, runs no script and asks no network.

    Args:
        told: From `watch.report_of`.
        pictures: SHA-256 -> PNG, as `told` names them; where one is missing none is drawn.
    """
    name = told["portfolio"]["name"]
    new, earlier = told["new"], told["earlier"]
    chance = f" {escape(_capital(told['chance']))}." if told["chance"] else ""
    body = f"""<main>
<header class="top">
<h1>New designs close to <em>{escape(name)}</em></h1>
<p>{escape(told["source"])}, watched on {escape(told["created"][:10])}.
{escape(_capital(statement(told)))}.{chance}</p>
{"".join(f'<p class="note">Note: {escape(note)}.</p>' for note in told["notes"])}
{_skipped(told["problems"])}
</header>
{_pairs(new, pictures) if new else f'<p class="none">{escape(_capital(nothing(told)))}.</p>'}
{_earlier(earlier, pictures)}
</main>
<footer><dl>
{definitions(_facts(told))}
</dl></footer>"""
    return page(title=f"New designs close to {name}", style=_STYLE, body=body)


def statement(told: Told) -> str:
    """Say what was compared and found, in one line."""
    threshold, share = told["threshold"]["text"], told["threshold"]["share"]
    many = len(told["new"])
    # Of these nobody measured how rare they are: no more may be said.
    closest = sum(share is not None and pair["share"] > share for pair in told["new"])
    parts = []
    if many > closest:
        parts.append(f"{_pairs_of(many - closest)} {_plural(threshold, many - closest)}")
    if closest:
        parts.append(f"{_pairs_of(closest)} closer than all that was measured")
    if not parts:
        return nothing(told)
    return f"{' and '.join(parts)} {_among(told)}"


def _pairs_of(many: int) -> str:
    return f"{many:,} new pair{'s' * (many != 1)}"


def nothing(told: Told) -> str:
    """Say that nothing new was found, and among what."""
    return f"no new pair {told['threshold']['text']} {_among(told)}"


def _among(told: Told) -> str:
    counts, filters = told["counts"], told["filters"]
    designs = f"{counts['designs']:,} design{'s' * (counts['designs'] != 1)}"
    return f"among {designs} compared with {counts['own_designs']:,} {filters}".rstrip()


def _plural(threshold: str, many: int) -> str:
    return threshold if many == 1 else threshold.replace("that scores", "that score")


def _skipped(problems: Sequence[Told]) -> str:
    """Name what could not be read: it was not compared."""
    if not problems:
        return ""
    lines = "".join(
        f"<li>{escape(problem['where'])}: {escape(problem['reason'])}</li>"
        for problem in problems[:SHOWN]
    )
    more = f"<li>and {len(problems) - SHOWN:,} more</li>" if len(problems) > SHOWN else ""
    what = "1 input was" if len(problems) == 1 else f"{len(problems):,} inputs were"
    return (
        f'<details class="skipped"><summary>{what} skipped</summary>'
        f"<ul>{lines}{more}</ul></details>"
    )


def _pairs(pairs: Sequence[Told], pictures: Mapping[str, bytes], *, day: bool = False) -> str:
    """Draw pairs, the first ones; `day` says when each was told."""
    drawn = "\n".join(
        _card(rank, pair, pictures, day=day) for rank, pair in enumerate(pairs[:SHOWN], 1)
    )
    rest = "\n".join(
        f"<li>{escape(pair['new']['design'])} close to {escape(pair['own']['design'])}:"
        f" {escape(_strength(pair))}</li>"
        for pair in pairs[SHOWN:]
    )
    return drawn + (f'<ol class="rest" start="{SHOWN + 1}">{rest}</ol>' if rest else "")


def _earlier(pairs: Sequence[Told], pictures: Mapping[str, bytes]) -> str:
    if not pairs:
        return ""
    what = "1 pair was" if len(pairs) == 1 else f"{len(pairs):,} pairs were"
    return (
        f'<details class="earlier"><summary>{what} told before</summary>\n'
        f'<div class="cards">{_pairs(pairs, pictures, day=True)}</div>\n</details>'
    )


def _card(rank: int, pair: Told, pictures: Mapping[str, bytes], *, day: bool) -> str:
    new, own, best = pair["new"], pair["own"], pair["best"]
    drawn = pair["views"][best["view"] - 1]
    matched = f"{pair['matched']} of {_views(pair['of'])} match{'es' * (pair['matched'] == 1)}"
    if pair["of"] == 1:
        matched = "its only view matches"
    lines = [matched, f"score {pair['score']:.3f}", f"told on {pair['told']}" if day else ""]
    told = ", ".join(line for line in lines if line)
    strength = f"<b>{escape(_capital(pair['sentence']))}</b>. " if pair["sentence"] else ""
    sides = (
        _side("New", new, pictures.get(drawn["picture"] or ""), f"View {best['view']}", ""),
        _side(
            "Portfolio",
            own,
            pictures.get(drawn["other"] or ""),
            f"Figure {best['figure']}",
            best["description"],
        ),
    )
    return f"""<article>
<h2><span class="rank">{rank}</span> <span><b>{escape(new["design"])}</b> close to
<b>{escape(own["design"])}</b></span></h2>
<p class="told">{strength}{escape(_capital(told))}.</p>
<div class="two">{"".join(sides)}</div>
{_further(pair, pictures)}
</article>"""


def _side(kind: str, facts: Told, png: bytes | None, shown: str, description: str) -> str:
    caption = f"{shown} of {facts['figures']}" + (f": {description}" if description else "")
    alt = f"{facts['design']}, {shown.lower()}"
    drawing = picture(png, alt) if png else '<div class="paper"></div>'
    record = DesignRecord(
        number=facts["design"],
        labels=tuple(facts["labels"]),
        figures_count=facts["figures"],
        where=facts["where"],
        locarno=facts["locarno"],
    )
    lines = [
        ("title", facts["title"]),
        ("class", class_of(record)),
        ("more", f"US {', '.join(facts['uspc'])}" if facts["uspc"] else ""),
        ("more", _dates(facts)),
        ("more", ", ".join(facts["applicants"])),
    ]
    text = "\n".join(f'<p class="{name}">{escape(line)}</p>' for name, line in lines if line)
    return f"""<section>
<p class="kind">{kind}</p>
<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>
<h3>{escape(facts["design"])}</h3>
{text}
</section>"""


def _further(pair: Told, pictures: Mapping[str, bytes]) -> str:
    """Draw each other view beside the figure that is most like it, the closest first."""
    best = pair["best"]["view"]
    others = [view for view in pair["views"] if view["view"] != best and view["picture"]]
    figures = "\n".join(
        f'<figure{" class=matches" if view["matches"] else ""}><div class="small">'
        f"{_small(pictures, view['picture'], pair['new'], 'view', view['view'])}"
        f"{_small(pictures, view['other'], pair['own'], 'figure', view['figure'])}</div>"
        f"<figcaption>view {view['view']} ~ figure {view['figure']}"
        f' <span class="score">{view["score"]:.2f}</span></figcaption></figure>'
        for view in sorted(others, key=lambda view: -view["score"])
    )
    return f'<div class="further">{figures}</div>' if figures else ""


def _small(pictures: Mapping[str, bytes], name: str, facts: Told, kind: str, place: int) -> str:
    png = pictures.get(name)
    return picture(png, f"{facts['design']}, {kind} {place}") if png else ""


def _strength(pair: Told) -> str:
    return str(pair["sentence"]) or f"scores {pair['score']:.3f}"


def _views(many: int) -> str:
    return f"{many} view{'s' * (many != 1)}"


def _dates(facts: Told) -> str:
    return _capital(dates_of(facts["filed"], facts["published"]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(told: Told) -> dict[str, str]:
    """Return what is needed to repeat the watch."""
    counts, of = told["counts"], told["portfolio"]
    used = ", ".join(
        f"{name} {version}" for name, version in told["versions"].items() if name not in _TRAINING
    )
    runs = "; ".join(
        f"{run['created'][:10]} {run['source']}: {run['designs']:,} designs, {run['new']:,} new"
        for run in reversed(told["runs"][-RUNS:])
    )
    return {
        "Watched": f"{told['source']}, on {told['created'].replace('T', ' ')}".replace(
            "+00:00", " UTC"
        ),
        "Compared": f"{counts['designs']:,} new designs with {counts['figures']:,} views, and"
        f" {counts['own_designs']:,} of the portfolio with {counts['own_figures']:,} figures:"
        f" all {counts['pairs']:,} pairs, exactly",
        "Told": f"pairs {_plural(told['threshold']['text'], 2)}"
        + (f", {told['filters']}" if told["filters"] else ""),
        "Portfolio": f"{of['name']}, snapshot {of['snapshot']}",
        "Encoder": f"{of['bundle']}, fingerprint {of['fingerprint']}",
        "Score": _SCORE,
        "Strength": "how many unrelated designs would come as close, by the best pair of figures"
        if any(pair["strength"] for pair in (*told["new"], *told["earlier"]))
        else "",
        "Times": runs,
        "Versions": used,
    }


_SCORE = (
    "the mean of two: the best cosine of a view to a figure, and the mean over all views of the"
    " best of each"
)

_STYLE = """
main, footer { max-width: 76rem; margin: 0 auto; }
.top { padding-bottom: 1.1rem; border-bottom: 1px solid var(--line); }
h1 em { font-style: normal; color: var(--accent); }
.top p, figcaption, .more, .none, .told, .kind, summary { color: var(--soft); }
.note, .skipped { font-size: .9rem; margin-top: .4rem; max-width: 60rem; }
.none { margin: 2.5rem 0; font-size: 1.1rem; color: var(--ink); }
article { display: grid; grid-template-columns: minmax(0, 36rem) minmax(0, 1fr);
 gap: .1rem clamp(1.5rem, 3vw, 2.6rem); padding: 1.8rem 0; border-bottom: 1px solid var(--line);
 align-items: start; }
article > h2, .told { grid-column: 1 / -1; }
main > article:last-child, .cards > article:last-child { border-bottom: 0; }
h2 { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: baseline; font-size: 1.1rem;
 font-weight: 400; }
h2 b, h3 { font-weight: 600; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin-top: .5rem; }
.told { margin-bottom: 1rem; } .told b { color: var(--ink); font-weight: 400; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: clamp(.8rem, 2vw, 1.4rem); }
.two section { min-width: 0; }
.kind { font-size: .85rem; margin-bottom: .3rem; }
.class { font-size: .93em; }
.more { font-size: .88em; }
.title, .class, .more { overflow-wrap: anywhere; }
figcaption { font-size: .85rem; margin-top: .3rem; }
.further { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr));
 gap: 1rem 1.1rem; padding-top: 1.55rem; }
.small { display: grid; grid-template-columns: 1fr 1fr; }
.small .paper:first-child { border-radius: 6px 0 0 6px; border-right: 0; }
.small .paper:last-child { border-radius: 0 6px 6px 0; }
.further figcaption { display: flex; font-size: .8rem; }
.matches figcaption, .matches .score { color: var(--ink); font-weight: 600; }
details.earlier { margin-top: 2.2rem; }
summary { cursor: pointer; }
.earlier > summary { font-size: 1.05rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
 gap: 0 clamp(1.5rem, 3vw, 2.6rem); }
.cards article { grid-template-columns: minmax(0, 1fr); align-content: start; }
.cards .rest { grid-column: 1 / -1; }
.skipped ul { margin: .3rem 0 0 1.2rem; overflow-wrap: anywhere; }
.rest { margin: 1.5rem 0 0 2.2rem; color: var(--soft); font-size: .93em; }
footer { border-top: 1px solid var(--line); padding-top: 1.2rem; margin-top: 3rem;
 color: var(--soft); font-size: .87em; }
@media (max-width: 52rem) { article { grid-template-columns: minmax(0, 1fr); }
 .further { padding-top: 1rem; } }
@media (max-width: 30rem) { footer dl { grid-template-columns: 1fr; gap: 0; }
 footer dt { font-weight: 600; margin-top: .5rem; } h1 { font-size: 1.35rem; } }
@media print { main, footer { max-width: none; } article { break-inside: avoid; padding: .8rem 0;
 grid-template-columns: 46% 1fr; } h2 { font-size: 10pt; } h3 { font-size: 9pt; }
 .further { grid-template-columns: repeat(3, 1fr); gap: .5rem; padding-top: 1.1rem; }
 figcaption, .further figcaption, .kind, summary, .earlier > summary { font-size: 7pt; }
 .cards article { grid-template-columns: 1fr; } .note, .skipped { font-size: 8pt; }
 .top p { font-size: 9pt; } footer { break-inside: avoid; margin-top: 1rem; } }
"""
