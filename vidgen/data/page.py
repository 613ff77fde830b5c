"""What `inspect` found as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1e2026; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; text-align: left;
       border-bottom: 1px solid #ddd } td.n { text-align: right }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0 } svg { display: block }
.warn { border-left: 4px solid #c80; padding: .3rem .8rem; margin: .4rem 0; background: #fff8ea }
img { max-width: 100% } code { background: #f3f3f3; padding: 0 .3rem }
"""


def page(found: dict[str, Any], sheet: bytes | None) -> str:
    """The page; `sheet` is a PNG of some clips."""
    n = found["sources"]
    parts = [
        f"<h1>{escape(found['url'])}</h1>",
        f"<p>{found['width']}x{found['height']} at {found['fps']:g} frames per second. "
        f"{n['seen']} files seen = {n['kept']} kept + {n['rejected']} rejected + "
        f"{n['skipped']} skipped.</p>",
        *(f'<p class="warn">{escape(text)}</p>' for text in found["warnings"]),
        "<h2>Splits</h2>",
        _table(
            ["split", "clips", "sources", "seconds", "captions", "labels"],
            [
                [
                    name,
                    r["clips"],
                    r["sources"],
                    round(r["seconds"]),
                    r["captions"],
                    len(r["labels"]),
                ]
                for name, r in found["splits"].items()
            ],
        ),
        "<h2>Stages</h2>",
        _table(
            ["stage", "of", "seen", "kept", "rejected", "skipped", "reasons"],
            [
                [
                    *(s[k] for k in ("stage", "of", "seen", "kept", "rejected", "skipped")),
                    ", ".join(f"{count} {why}" for why, count in s["reasons"].items()),
                ]
                for s in found["stages"]
            ],
        ),
        "<h2>Clips by</h2>",
        '<div class="charts">',
        *(_chart(name, each) for name, each in found["histograms"].items()),
        "</div>",
        "<h2>Diversity</h2>",
        _table(
            ["", "different", "as many as if even"],
            [[k, v["different"], v.get("effective", "")] for k, v in found["diversity"].items()],
        ),
        f"<p>Copies among the clips: {found['duplicates']['same']} the same, "
        f"{found['duplicates']['near']} nearly the same.</p>",
    ]
    for title, counts in (("Labels", found["labels"]), ("Codecs of the sources", found["codecs"])):
        if counts:
            parts += [f"<h2>{title}</h2>", _table(["", "clips"], [[*x] for x in counts.items()])]
    if found["rejects"]:
        rows = [[r["reason"], r["detail"]] for r in found["rejects"][:200]]
        parts += ["<h2>Left out</h2>", _table(["reason", "what"], rows)]
        if len(found["rejects"]) > 200:
            parts.append(f"<p>... and {len(found['rejects']) - 200} more in rejects.jsonl</p>")
    if sheet:
        data = base64.b64encode(sheet).decode()
        parts += ["<h2>Some clips</h2>", f'<img alt="clips" src="data:image/png;base64,{data}">']
    body = "\n".join(parts)
    title = f"<title>{escape(found['url'])}</title>"
    head = f'<meta charset="utf-8">{title}<style>{_STYLE}</style>'
    return f"<!doctype html>\n<html lang=en>{head}<body>\n{body}\n</body></html>\n"


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = [
        "<tr>"
        + "".join(
            f'<td class="n">{cell:,}</td>'
            if isinstance(cell, (int, float))
            else f"<td>{escape(str(cell))}</td>"
            for cell in row
        )
        + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _chart(name: str, histogram: dict[str, Any]) -> str:
    counts, edges = histogram["counts"], histogram["edges"]
    top, width, height = max(counts), 200, 80
    step = width / len(counts)
    bars = "".join(
        f'<rect x="{n * step:.1f}" y="{height - height * count / top:.1f}" '
        f'width="{step - 2:.1f}" height="{height * count / top:.1f}" fill="#4573b3">'
        f"<title>{edges[n]:.3g} to {edges[n + 1]:.3g}: {count}</title></rect>"
        for n, count in enumerate(counts)
    )
    about = f"{name}: {histogram['min']:.3g} to {histogram['max']:.3g}, "
    about += f"median {histogram['median']:.3g}"
    return (
        f'<figure><svg width="{width}" height="{height}" role="img">{bars}</svg>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )
