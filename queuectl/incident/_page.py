"""The report as one page of HTML: no script, no request, nothing from outside, readable in light and dark and on paper."""

from __future__ import annotations

from queuectl.display import escape_html, mask_secrets
from queuectl.incident import _calls, _words
from queuectl.incident._facts import Facts, Group, name_of

COLOURS = ("#c2410c", "#2563eb", "#15803d", "#a21caf", "#b45309", "#0e7490")
OTHERS = "#8a8f98"
WIDE, HIGH = 960, 180

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --ground: #ffffff; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --ground: #0d1117; --panel: #161b22; } }
body { margin: 2.5rem auto; max-width: 60rem; padding: 0 1rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: .85rem/1.45 ui-monospace, monospace; } pre { background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
@media print { body { margin: 0; } pre { white-space: pre-wrap; } h2 { break-after: avoid; } }
"""


def page(facts: Facts) -> str:
    """Return the whole page."""
    title = f"Failures in {escape_html(name_of(facts))}"
    window = f"{_words.moment(facts.start_ms)} to {_words.moment(facts.end_ms)}, {_words.zone(facts.made_ms)}"
    summary = "".join(f"<p>{escape_html(s)}</p>" for s in _words.summary(facts))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="soft">{escape_html(window)}</p>
{summary}
{_timeline(facts)}
{_table(facts)}
{"".join(_group(facts, g, number) for number, g in enumerate(facts.groups))}
<p class="soft">Made {_words.moment(facts.made_ms)} by queuectl {escape_html(facts.version)} from <code>{escape_html(facts.db)}</code>.</p>
</body>
</html>
"""


def _colour(number: int) -> str:
    return COLOURS[number] if number < len(COLOURS) else OTHERS


def _table(facts: Facts) -> str:
    if not facts.groups:
        return ""
    rows = "".join(
        f"<tr><td><span class='dot' style='background:{_colour(i)}'></span><code>{escape_html(c.sig)}</code></td><td class='n'>{c.count:,}</td>"
        f"<td class='n'>{c.share:.0%}</td><td class='n'>{c.jobs:,}</td><td class='n'>{g.dead:,}</td>"
        f"<td class='n'>{_words.moment(c.last_seen_ms)}</td><td class='n'>{_words.span(c.wasted_ms)}</td>"
        f"<td><a href='#{escape_html(c.sig)}'>{_text(c.message or c.sig)}</a></td></tr>"
        for i, g in enumerate(facts.groups)
        for c in [g.cause]
    )
    names = ("cause", "runs", "share", "jobs", "dead now", "last seen", "cost", "message")
    head = "".join(f"<th class='{'n' if 0 < i < 7 else ''}'>{n}</th>" for i, n in enumerate(names))
    more = (
        f"<p class='soft'>{_words.many(facts.left_out, 'cause')} more not shown.</p>"
        if facts.left_out
        else ""
    )
    return f"<h2>Causes</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _timeline(facts: Facts) -> str:
    """Bars of failed runs over time, one on the other by cause."""
    lines = [(g.timeline, _colour(i), g.cause.sig) for i, g in enumerate(facts.groups)] + [
        (facts.others, OTHERS, "other causes")
    ]
    most = max((sum(t[0][i] for t in lines) for i in range(len(facts.others))), default=0)
    if not most:
        return ""
    wide, left = WIDE / len(facts.others), 0.0
    bars = []
    for i in range(len(facts.others)):
        top = float(HIGH)
        for counts, colour, name in reversed(lines):
            if counts[i]:
                height = counts[i] / most * (HIGH - 16)
                top = top - height
                when = _words.moment(facts.start_ms + i * facts.bucket_ms)
                bars.append(
                    f"<rect x='{left + 1:.1f}' y='{top:.1f}' width='{wide - 2:.1f}' height='{height:.1f}' fill='{colour}'>"
                    f"<title>{escape_html(name)}: {counts[i]:,} from {when}</title></rect>"
                )
        left += wide
    return (
        f"<svg viewBox='0 0 {WIDE} {HIGH + 22}' role='img' aria-label='Failed runs over time'>{''.join(bars)}"
        f"<line x1='0' x2='{WIDE}' y1='{HIGH}' y2='{HIGH}' stroke='var(--line)'/>"
        f"<text x='0' y='12'>{most:,} failed runs in {_words.span(facts.bucket_ms)}</text>"
        f"<text x='0' y='{HIGH + 16}'>{_words.moment(facts.start_ms)}</text>"
        f"<text x='{WIDE}' y='{HIGH + 16}' text-anchor='end'>{_words.moment(facts.end_ms)}</text></svg>"
    )


def _group(facts: Facts, g: Group, number: int) -> str:
    c = g.cause
    parts = [
        f"<h2 id='{escape_html(c.sig)}'><span class='dot' style='background:{_colour(number)}'></span>{_text(c.message or c.sig)}</h2>",
        f"<p>Cause <code>{escape_html(c.sig)}</code>: {_words.many(c.count, 'run')} of {_words.many(c.jobs, 'job')}, "
        f"{_words.moment(c.first_seen_ms)} to {_words.moment(c.last_seen_ms)}; {_words.now_in_queue(g)}.</p>",
    ]
    if c.commands:
        parts.append(f"<p>Commands:</p>{_block(chr(10).join(mask_secrets(x) for x in c.commands))}")
    if c.example_job:
        sample = "\n".join(g.sample) or mask_secrets(c.example_line or "")
        parts.append(f"<p>Latest example, job <code>{escape_html(c.example_job)}</code>:</p>{_block(sample)}")
    if g.dead:
        calls = f"{_calls.shell(facts, g)}\n\n# or in Python\n{_calls.opened(facts)}\n{_calls.python(g)}"
        parts.append(f"<p>Once it is fixed, retry its {_words.many(g.dead, 'job')}:</p>{_block(calls)}")
    return "\n".join(parts)


def _text(text: str) -> str:
    return escape_html(mask_secrets(text))


def _block(text: str) -> str:
    return f"<pre>{escape_html(text)}</pre>"
