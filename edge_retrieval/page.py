"""What every HTML page of ours shares: it holds its pictures and style, and asks no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape


def page(*, title: str, style: str, body: str) -> str:
    """Return a whole page; it runs no script, and a browser may load nothing for it.

    Args:
        title: As text.
        style: CSS beyond `STYLE`.
        body: As HTML.
    """
    return _PAGE.format(title=escape(title), style=STYLE + style, body=body)


def picture(png: bytes, alt: str) -> str:
    """Return a drawing on its paper as HTML, the picture inside; `alt` is text."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    return f'<div class="paper"><img alt="{escape(alt)}" src="{source}"></div>'


def notebook_row(cells: Sequence[tuple[bytes, str, str]], below: str) -> str:
    """Return drawings side by side for a notebook's cell: (PNG or b"", name, more), all text."""
    drawn = "".join(
        '<figure style="margin:0;width:9rem;flex:none">'
        '<div style="background:#fff;border:1px solid #ddd;border-radius:4px;padding:6px;'
        'height:9rem;display:flex;align-items:center;justify-content:center">'
        + (
            f'<img alt="{escape(name)}" style="max-width:100%;max-height:100%" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
            if png
            else ""
        )
        + f'</div><figcaption style="font-size:.85em">{escape(name)}<br>{escape(more)}</figcaption>'
        "</figure>"
        for png, name, more in cells
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{drawn}</div><p>{escape(below)}</p>'


def definitions(facts: Mapping[str, str]) -> str:
    """Return name -> value, both text, as rows of an HTML list; what has no value is left out."""
    return "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

# Drawings stand on white paper in the dark, too: they are black ink.
STYLE = """
:root { color-scheme: light dark; --ground: #f6f5f2; --ink: #1c1b19; --soft: #6d6a64;
 --line: #dedbd4; --accent: #8a4b14; }
@media (prefers-color-scheme: dark) { :root { --ground: #191817; --ink: #eceae5; --soft: #a09c94;
 --line: #37342f; --accent: #e0a56d; } }
* { box-sizing: border-box; margin: 0; padding: 0; }
body { background: var(--ground); color: var(--ink); padding: 2.5rem clamp(1rem, 4vw, 4rem);
 font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; font-weight: 600; letter-spacing: -.01em; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dd { overflow-wrap: anywhere; }
.paper { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 6%;
 aspect-ratio: 1; }
.paper img { display: block; width: 100%; height: 100%; object-fit: contain; }
.rank { color: var(--accent); }
.score { margin-left: auto; color: var(--soft); font-weight: 400; }
.rank, .score { font-variant-numeric: tabular-nums; }
@media print { :root { color-scheme: light; --ground: #fff; --ink: #000; --soft: #444;
 --line: #bbb; --accent: #000; } body { padding: 0; font-size: 8pt; } h1 { font-size: 14pt; } }
"""
