"""A report on disk: the page, and its twins for people (Markdown) and programs (JSON)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.files import write_json, write_text
from edgedx.core.stats.metrics import Interval
from edgedx.core.table import markdown_table, markdown_text

from . import words
from .collect import RunFacts
from .content import card_of
from .glossary import used
from .section import Cell, Evidence, ReportSection, Table


def write_report(facts: RunFacts, path: Path, *, images: bool = False, evidence: Sequence[Evidence] = ()) -> list[Path]:
    """Write ``path`` (.html) and its twins beside it (.md, .json), and return their paths.

    Parameters
    ----------
    images : bool
        Put the misclassified images, which are of patients, into the page.
    evidence : sequence of Evidence
        What other commands found.

    Raises
    ------
    UsageError
        `path` does not end in .html.
    """
    from .page import page

    if path.suffix != ".html":
        raise UsageError(f"{path} does not end in .html", next_step="--out FILE.html; its twins get .md and .json")
    written = [path, path.with_suffix(".md"), path.with_suffix(".json")]
    write_text(path, page(facts, _shots(facts) if images else (), evidence, images=images))
    write_text(written[1], markdown(facts, evidence))
    write_json(written[2], facts.to_dict() | {one.section.key: one.report for one in evidence})
    return written


def _shots(facts: RunFacts) -> list[tuple[bytes, str]]:
    from edgedx.lab.data.dataset import load_dataset
    from edgedx.lab.judge.evaluation import wrong_first
    from edgedx.lab.judge.gallery import shots

    spec = facts.recipe.preprocess
    part = load_dataset(facts.run.data, facts.recipe.task.kind, spec).subset(facts.split)
    answers = facts.shipped.answers
    return shots(facts.cases, answers, wrong_first(facts.cases, answers), lambda row: part.canvases[part.rows[row]])


def markdown(facts: RunFacts, evidence: Sequence[Evidence] = ()) -> str:
    """The Markdown twin: words and tables, no pictures."""
    from .page import in_order

    recipe = facts.recipe
    lines = [
        f"# {markdown_text(recipe.title)}",
        "",
        f"**{words.NOT_A_DEVICE}**",
        "",
        f"{recipe.name} {recipe.version}, written {facts.made['written']}",
    ]
    sections = [*in_order(facts, evidence), card_of(facts)]
    for section in sections:
        lines += _lines(section)
    text = "\n".join(lines)
    lines += ["", "## Words", "", *(f"- **{term}**: {meaning}" for term, meaning in used(text))]
    return "\n".join(lines) + "\n"


def _lines(section: ReportSection) -> list[str]:
    lines = ["", f"## {markdown_text(section.title)}"]
    if section.headline is not None:
        lines += ["", f"**{markdown_text(section.headline.text)}**"]
    lines += _list(section.texts)
    for table in section.tables:
        lines += _table(table)
    lines += _list(section.items)
    for title, items in section.parts:
        lines += ["", f"### {markdown_text(title)}", *_list(items)]
    for fold in section.folded:
        lines += ["", f"### {markdown_text(fold.summary)}", *_list(fold.texts)]
        for table in fold.tables:
            lines += _table(table)
    return lines


def _list(texts: Sequence[str]) -> list[str]:
    return ["", *(f"- {markdown_text(text)}" for text in texts)] if texts else []


def _table(table: Table) -> list[str]:
    title = ["", f"### {markdown_text(table.title)}"] if table.title else []
    note = ["", markdown_text(table.note)] if table.note else []
    return [*title, "", *markdown_table(table.header, [[_text(cell) for cell in row] for row in table.rows]), *note]


def _text(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return "-" if math.isnan(cell.value) else str(cell)
    return cell
