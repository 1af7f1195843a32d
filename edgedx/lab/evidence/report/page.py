"""A report as one HTML file: no script, nothing from outside, none can be fetched; for screen and paper."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgedx.core.stats.metrics import Interval
from edgedx.lab.judge.curve_plots import calibration_figure, confusion_figure, pr_figure, roc_figure, subgroup_figure

from . import words as words
from .collect import Collected
from .sections import Extra
from .words import Cell, Table

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FITS = 5
"""Columns that fit a phone; wider tables scroll by themselves."""
STYLE = """
:root{--ink:#22303c;--soft:#5b6b78;--line:#d9dfe4;--tone:#0b6e99;--bad:#a8321f;--good:#2f6b3a;
--paper:#fff;--ground:#f4f6f8}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",
sans-serif}
main{max-width:1060px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.55rem;line-height:1.25;margin:.2em 0 .1em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 .6em;color:var(--tone)}
h3{font-size:.95rem;margin:1em 0 .2em}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:16px 0}
p,li{overflow-wrap:anywhere}p{margin:.4em 0}ul{margin:.3em 0;padding-left:1.2em}
.soft{color:var(--soft);font-size:.88rem}
.warn{border-left:4px solid var(--bad);padding:6px 12px;background:#fbeeec;margin:10px 0}
.verdict{font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 7px;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left;min-width:6.4em;overflow-wrap:break-word}
th{font-weight:600;color:var(--soft);font-size:.82rem;overflow-wrap:break-word}
td small{display:block;color:var(--soft);font-size:.78em;white-space:nowrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:14px}
.broad{display:grid;gap:14px;margin-top:12px}figure{margin:0}figure img{width:100%;height:auto;display:block}
.broad img{width:auto;max-width:min(100%,900px);margin:auto}
figcaption{font-size:.82rem;color:var(--soft);text-align:center}
@media(max-width:480px){main{padding:10px 8px 32px}section{padding:12px 10px}
th,td{padding:4px 3px}table{font-size:.8rem}h1{font-size:1.25rem}td small{white-space:normal}
table:not(.many){table-layout:fixed}th:first-child,td:first-child{min-width:0;width:25%}
th{overflow-wrap:anywhere;font-size:.72rem}.many{min-width:600px}}
.shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:10px}.shots img{border-radius:4px}
.shots figcaption{text-align:left;font-size:.76rem;line-height:1.3;overflow-wrap:anywhere}
@media print{@page{size:A4;margin:14mm}body{background:#fff;font-size:10.5pt}main{max-width:none;padding:0}
section{border:0;border-top:1px solid var(--line);border-radius:0;padding:8px 0}
figure,tr,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}.wide{overflow:visible}
.plots{grid-template-columns:repeat(2,1fr)}}
"""


def page(
    found: Collected, shots: Sequence[tuple[bytes, str]] = (), extras: Sequence[Extra] = (), *, images: bool = False
) -> str:
    """The HTML text.

    Parameters
    ----------
    shots : sequence of (PNG, caption)
        Pictures of patients; left out unless somebody asked for them.
    extras : sequence of Extra
        What other commands found.
    images : bool
        Put the extras' pictures of patients into the page.
    """
    recipe = found.recipe
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(recipe.title)}</title><style>{STYLE}</style>"
    )
    body = [
        f"<header><h1>{escape(recipe.title)}</h1>",
        f'<p class="soft">{escape(recipe.name)} {escape(recipe.version)}, written {escape(found.made["written"])}</p>',
        f'<p class="warn"><strong>{words.NOT_A_DEVICE}</strong></p></header>',
        _section("In short", _paragraphs(words.summary(found))),
        _section(
            "Side by side",
            _table(words.side_by_side(found))
            + f'<p class="soft">On the {escape(found.split)} split; below each figure its 95 % interval. '
            "The last column is what ships, or would. Accuracy is of decisions at the operating point.</p>",
        ),
        _section("Curves", _plots(_curves(found))),
        _section("The gate", _gate(found)),
        _section(
            f"Each class, {escape(found.shipped.name)}",
            _table(words.by_class(found))
            + "<h3>Sensitivity at fixed specificity</h3>"
            + _table(words.at_specificity(found))
            + '<p class="soft">There the threshold is chosen on these very images.</p>',
        ),
        _section("Decisions", _plots(_confusions(found))),
        _section("Subgroups", _subgroups(found)),
        *(_section(escape(one.title), _extra(one, images)) for one in extras),
        _section("Training", _plots(_training(found))),
        _section("Data", _table(words.counts(found)) + _items(words.exclusions(found))),
    ]
    if shots:
        tiles = "".join(
            f'<figure><img alt="an image decided wrongly" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            f"<figcaption>{escape(told).replace(chr(10), '<br>')}</figcaption></figure>"
            for png, told in shots
        )
        note = "Worst first. Numbers are rows of the predictions.csv that edgedx evaluate writes."
        body.append(_section("Decided wrongly", f'<p class="soft">{note}</p><div class="shots">{tiles}</div>'))
    card = "".join(f"<h3>{escape(title)}</h3>{_items(items)}" for title, items in words.card(found))
    body.append(_section("Model card", card))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>{"".join(body)}</main></body></html>\n'


def _extra(extra: Extra, images: bool) -> str:
    tables = "".join((f"<h3>{escape(title)}</h3>" if title else "") + _table(table) for title, table in extra.tables)
    shown = [*extra.pictures, *(extra.patients if images else ())]
    pictures = "".join(
        f'<figure><img alt="{escape(caption)}" src="{png_address(path)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for path, caption in shown
        if path.is_file()
    )
    return _paragraphs(extra.texts) + tables + (f'<div class="broad">{pictures}</div>' if pictures else "")


def png_address(path: Path) -> str:
    """A PNG inside an address."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n" if content else ""


def _paragraphs(texts: list[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _items(texts: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    head = "".join(f"<th>{escape(text).replace('_', '_<wbr>')}</th>" for text in table.header)
    many = ' class="many"' if len(table.header) > _FITS else ""
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in table.rows)
    return f'<div class="wide"><table{many}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Interval):
        return f"<td>{escape(cell)}</td>"
    if math.isnan(cell.value):
        return "<td>-</td>"
    ends = "" if math.isnan(cell.low) else f"<small>{cell.low:.3f} to {cell.high:.3f}</small>"
    return f"<td>{cell.value:.3f}{ends}</td>"


def _gate(found: Collected) -> str:
    verdict = found.verdict
    if verdict is None:
        return _paragraphs([words.gate_sentence(found)])
    tone, word = ("good", "Passed") if verdict["passed"] else ("bad", "Not passed")
    told = f'<p class="verdict {tone}">{word}</p><p>{escape(str(verdict["sentence"]))}</p>'
    checks = [
        f"{one['name']}: {'held' if one['passed'] else 'FAILED'}. {one['sentence']}"
        for one in verdict.get("checks", [])
        if one["sentence"] != verdict["sentence"]
    ]
    flips = verdict.get("flips")
    if isinstance(flips, int) and verdict.get("images"):
        checks.append(f"{flips} of {verdict['images']} decisions differ from the full model's")
    return told + _items(checks)


def _subgroups(found: Collected) -> str:
    gap = found.shipped.parts.gap
    told = [f"{gap.sentence[0].upper()}{gap.sentence[1:]}."] if gap else []
    text = _paragraphs(told) + _table(words.by_subgroup(found))
    teacher = next(one for one in found.models if one.name == "teacher")
    shown = {one.name: one.parts.subgroups for one in (teacher, found.shipped) if one.parts.subgroups}
    if shown:
        text += _plots(
            [
                _plot(subgroup_figure(shown, kind), f"{word} by subgroup")
                for kind, word in (("auc_roc", "AUC"), ("sensitivity", "sensitivity"))
            ]
        )
    text += _items(words.not_judged(found))
    return text or _paragraphs(["The data set names no subgroups: whether the model serves all alike is not known."])


def _shown_models(found: Collected) -> dict[str, Any]:
    return {one.name: one.answers for one in words.shown(found)}


def _curves(found: Collected) -> list[str]:
    many = len(found.cases.findings()) > 1
    models = {found.shipped.name: found.shipped.answers} if many else _shown_models(found)
    names = [found.cases.classes[index] for index, _, _ in found.cases.findings()]
    judged = [one for one in found.models if one.name in models]
    areas = {
        kind: [one.figures.classes[name][kind] for one in judged for name in names] for kind in ("auc_roc", "auc_pr")
    }
    of = f", {found.shipped.name}" if many else ""
    return [
        _plot(roc_figure(found.cases, models, areas["auc_roc"]), f"ROC{of}"),
        _plot(pr_figure(found.cases, models, areas["auc_pr"]), f"Precision and recall{of}"),
        _plot(calibration_figure(found.cases, models), f"Calibration{of}"),
    ]


def _confusions(found: Collected) -> list[str]:
    return [
        _plot(confusion_figure(one.figures.confusion, one.name), f"decisions of {one.name}")
        for one in words.shown(found)
    ]


def _training(found: Collected) -> list[str]:
    from edgedx.lab.judge.curve_plots import history_figure

    return [
        _plot(history_figure(one.facts["history"], one.name), f"learning curve of {one.name}")
        for one in found.models
        if len(one.facts.get("history") or []) > 1
    ]


def _plots(plots: list[str]) -> str:
    return f'<div class="plots">{"".join(plots)}</div>' if plots else ""


def _plot(figure: Any, alt: str) -> str:
    return f'<figure><img alt="{escape(alt)}" src="{svg_address(figure)}"></figure>'


def svg_address(figure: Any) -> str:
    """A figure as SVG inside an address: sharp at any size, its identifiers apart from all others, nothing to fetch."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgedx", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    return f"data:image/svg+xml;base64,{base64.b64encode(text.strip().encode()).decode()}"
