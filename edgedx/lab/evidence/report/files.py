"""A report on disk: the page, and its twins for people (Markdown) and programs (JSON)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.files import write_json, write_text
from edgedx.core.stats.metrics import Interval

from . import words as words
from .collect import Collected
from .sections import Extra
from .words import Cell, Table


def write_report(found: Collected, path: Path, *, images: bool = False, extras: Sequence[Extra] = ()) -> list[Path]:
    """Write ``path`` (.html) and its twins beside it (.md, .json), and return their paths.

    Parameters
    ----------
    images : bool
        Put the misclassified images, which are of patients, into the page.
    extras : sequence of Extra
        Sections of what other commands found.

    Raises
    ------
    UsageError
        `path` does not end in .html.
    """
    from .page import page

    if path.suffix != ".html":
        raise UsageError(f"{path} does not end in .html", next_step="--out FILE.html; its twins get .md and .json")
    written = [path, path.with_suffix(".md"), path.with_suffix(".json")]
    write_text(path, page(found, _shots(found) if images else (), extras, images=images))
    write_text(written[1], markdown(found, extras))
    write_json(written[2], found.to_dict() | {one.key: one.told for one in extras})
    return written


def _shots(found: Collected) -> list[tuple[bytes, str]]:
    from edgedx.lab.data.dataset import load_dataset
    from edgedx.lab.judge.evaluation import wrong_first
    from edgedx.lab.judge.gallery import shots

    spec = found.recipe.preprocess
    part = load_dataset(found.run.data, found.recipe.task.kind, spec).subset(found.split)
    answers = found.shipped.answers
    return shots(found.cases, answers, wrong_first(found.cases, answers), lambda row: part.canvases[part.rows[row]])


def markdown(found: Collected, extras: Sequence[Extra] = ()) -> str:
    """The Markdown twin: words and tables, no pictures."""
    recipe = found.recipe
    lines = [
        f"# {_plain(recipe.title)}",
        "",
        f"**{words.NOT_A_DEVICE}**",
        "",
        f"{recipe.name} {recipe.version}, written {found.made['written']}",
        "",
        "## In short",
        "",
    ]
    lines += [f"- {_plain(text)}" for text in words.summary(found)]
    tables = [
        (f"Side by side, {found.split}", words.side_by_side(found)),
        (f"Each class, {found.shipped.name}", words.by_class(found)),
        ("Sensitivity at fixed specificity", words.at_specificity(found)),
        ("Subgroups", words.by_subgroup(found)),
        ("Data", words.counts(found)),
    ]
    for title, table in tables:
        if table is not None:
            lines += ["", f"## {title}", "", *_table(table)]
    for one in extras:
        lines += ["", f"## {one.title}", "", *(f"- {_plain(text)}" for text in one.texts)]
        for title, table in one.tables:
            lines += ["", *([f"### {_plain(title)}", ""] if title else []), *_table(table)]
    lines += ["", *(f"- {_plain(text)}" for text in [*words.exclusions(found), *words.not_judged(found)])]
    lines += ["", "## Model card"]
    for title, items in words.card(found):
        lines += ["", f"### {title}", "", *(f"- {_plain(text)}" for text in items)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    head = ["| " + " | ".join(_plain(text) for text in table.header) + " |", "|" + "---|" * len(table.header)]
    return head + ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in table.rows]


def _text(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return "-" if math.isnan(cell.value) else str(cell)
    return _plain(cell)


def _plain(text: str) -> str:
    """Names from outside make no markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
