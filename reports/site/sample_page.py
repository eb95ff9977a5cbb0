"""The page of a measurement as HTML, put together without a template engine. Pure.

A large report has five times as many of these pages as of all others, and Jinja's escaping of each value took a third
of the whole build. The frame around the page is the template of all other pages, drawn once. Everything that comes from
a record goes through :func:`reports.site.grid.seen`, which escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from reports.site.grid import mark_html, seen
from reports.site.page import Context, environment, relative_to, with_defaults

_TITLE, _MAIN = "the-title-comes-here", "the-page-comes-here"
_PLOTS = """\
<div class="plots">
<figure class="plot" id="runs"><figcaption><h3>Every run, in order</h3><p>A line per repeat, each a process of its \
own. A drift or a step shows what a median hides.</p></figcaption>
<div class="canvas" data-kind="runs" hidden><canvas role="img" aria-label="Every run in order. The numbers are under \
Raw samples."></canvas></div><noscript><p class="quiet">This plot is drawn by JavaScript; its numbers stand under Raw \
samples.</p></noscript></figure>
<figure class="plot" id="shares"><figcaption><h3>Share of runs up to each latency</h3><p>Steep is steady. The \
upright line is the median; the slowest hundredth is left out of the axis, not of the data.</p></figcaption>
<div class="canvas" data-kind="shares" data-median="{median}" hidden><canvas role="img" aria-label="Share of runs up \
to each latency. The numbers are under Raw samples."></canvas></div><noscript><p class="quiet">This plot is drawn by \
JavaScript; its numbers stand under Raw samples.</p></noscript></figure>
</div>"""
_OUTCOMES = {"ok": "ok", "exceeded": "warn"}


def html(address: str, context: Context) -> bytes:
    """A page of :func:`reports.site.measurements.context`.

    Args:
        address: of the page, from the top of the site.
        context: what it shows.
    """
    depth = "/" * address.count("/")  # how deep it lies is all that links depend on
    before, between, after = _frame(depth, context["section"], bool(context["figures"]))
    parts = [before, seen(context["title"]), between, _trail(context, depth), _body(context, depth), after]
    return "".join(parts).encode()


@lru_cache(maxsize=64)
def _frame(depth: str, section: str, has_figures: bool) -> tuple[str, str, str]:
    """What stands before the title, between it and the page, and after it."""
    figures = ("",) if has_figures else ()
    told = {"title": _TITLE, "section": section, "figures": figures, "main": _MAIN, "page": depth}
    drawn = environment().get_template("frame.html").render(with_defaults(told))
    before, title, rest = drawn.partition(_TITLE)
    between, main, after = rest.partition(_MAIN)
    if not (title and main) or _TITLE in after or _MAIN in after:
        raise ValueError("the template of all pages has not one title and one main part")
    return before, between, after


def _trail(c: Context, depth: str) -> str:
    links = "".join(f'<li><a href="{relative_to(at, depth)}">{seen(text)}</a></li>' for at, text in c["trail"])
    return (
        f'<nav class="trail" aria-label="You are here"><ol>{links}<li aria-current="page">{seen(c["heading"])}</li>\n'
        "</ol></nav>"
    )


def _body(c: Context, depth: str) -> str:
    marks = "".join(f"{mark_html(mark)} " for mark in c["marks"])
    found = [
        f'<h1>{seen(c["model"])} <span class="on">on {seen(c["device"])}</span></h1>\n'
        f'<p class="big"><b>{seen(c["latency"])}</b>{" <span>ms</span>" if c["unit"] else ""} {marks}</p>\n'
        f'<p class="lede">{seen(c["abi"])}, {seen(c["threads"])}, <time datetime="{seen(c["time"])}">'
        f"{seen(c['moment'])}</time>. Cell <code>{seen(c['cell'])}</code>."
    ]
    if c["superseded"]:
        later = relative_to(c["superseded"], depth)
        found.append(f' A later measurement of the same cell is shown in the tables: <a href="{later}">see it</a>.')
    found.append("</p>")
    if c["error"]:
        found.append(f'<p class="note bad">{seen(c["error"])}</p>')
    if c["summary"]:
        figures = "".join(f"<li><span>{seen(label)}</span><b>{seen(value)}</b></li>" for label, value in c["summary"])
        found.append(f'<ul class="figures">{figures}</ul>')
    if c["samples"]:
        found.append(_PLOTS.format(median=seen(c["median"])))
    found.append(f'<section><h2 id="evidence">Verdict: {seen(c["verdict"])}</h2>')
    if c["reason"]:
        found.append(f"<p>{seen(c['reason'])}</p>")
    found.append(_evidence(c["evidence"]))
    found.append(
        f'</section>\n<section><h2 id="how">How it was measured</h2>\n{_facts(c["how"])}\n'
        '<div class="command"><pre tabindex="0" aria-label="Command that measures it again">'
        f"<code>{seen(c['again'])}</code></pre></div>\n</section>"
    )
    if c["repeats"]:
        found.append(_repeats(c["repeat_columns"], c["repeats"]))
    found.append(f'<section><h2 id="samples">Raw samples</h2>{_samples(c)}</section>\n')
    return "".join(found)


def _evidence(rows: Sequence[tuple[str, str, str, str]]) -> str:
    if not rows:
        return '<p class="quiet">No figures were recorded.</p>'
    drawn = "".join(
        f'<tr><th scope="row">{seen(check)}</th><td>{seen(value)}</td><td>{seen(limit)}</td>'
        f'<td><span class="mark {_OUTCOMES.get(outcome, "plain")}">{seen(outcome)}</span></td></tr>'
        for check, value, limit, outcome in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Evidence"><table class="small"><thead><tr>'
        '<th scope="col">Check</th><th scope="col">Found</th><th scope="col">Limit</th><th scope="col">Outcome</th>'
        f"</tr></thead><tbody>{drawn}</tbody></table></div>"
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    drawn = "".join(f"<div><dt>{seen(name)}</dt><dd>{seen(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{drawn}</dl>'


def _repeats(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = [' class="right"' if number < len(columns) - 2 else "" for number in range(len(columns))]
    heads = "".join(f'<th scope="col"{css}>{seen(text)}</th>' for text, css in zip(columns, right, strict=True))
    drawn = "".join(
        f'<tr><th scope="row">{number}</th>'
        + "".join(f"<td{css}>{seen(text)}</td>" for text, css in zip(row, right, strict=True))
        + "</tr>"
        for number, row in enumerate(rows, 1)
    )
    return (
        '<section><h2 id="repeats">Repeats and conditions</h2>\n<div class="scroll" tabindex="0" role="region" '
        'aria-label="Repeats"><table class="small"><thead><tr><th scope="col">Repeat</th>'
        f"{heads}</tr></thead><tbody>{drawn}</tbody></table></div>\n</section>"
    )


def _samples(c: Context) -> str:
    samples: Sequence[tuple[str, str]] = c["samples"]
    reported: Sequence[Any] = c["reported"]
    if samples:
        drawn = "".join(
            f"<details{'' if number > 1 else ' open'}><summary>Repeat {number}, {seen(count)}</summary>"
            f'<pre class="samples" tabindex="0" aria-label="Samples of repeat {number}">{text}</pre></details>'
            for number, (text, count) in enumerate(samples, 1)
        )
        words = "Nanoseconds of each run, in the order they ran, on the device's monotonic clock. "
        return f'<p class="quiet">{words}{seen(c["left_out"])}</p>{drawn}'
    if reported:
        drawn = "".join(f"<h3>Repeat {number}</h3>{_facts(pairs)}" for number, pairs in enumerate(reported, 1))
        return "<p>The tool kept its samples to itself. What it printed, per repeat, in nanoseconds:</p>" + drawn
    return "<p>There are none.</p>"
