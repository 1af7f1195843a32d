"""Labels as tables and folders spell them, to class indices and findings; a near miss is told its nearest class."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from edgedx.core.settings.recipe import Recipe

NAN = float("nan")
_YES_NO = {"": NAN, "0": 0.0, "1": 1.0}
_SIMILAR = 0.8  # difflib ratio of one or two letters changed in a word
_ZEROS_BEHIND = re.compile(r"(-?[01])[.,]0*")

Label = tuple[float, ...]


def label_of_text(recipe: Recipe, text: str) -> tuple[Label, str]:
    """Label and problem of a cell or folder that names a class, or findings joined by ``|``."""
    task, data = recipe.task, recipe.data
    if not text:
        return (), "missing label"
    if text in data.ambiguous_labels:
        return (), "ambiguous label"
    spelled = text.split("|") if task.kind == "multilabel" else [text]
    names = [data.label_names.get(name, name) for name in spelled]
    known = {*task.classes, "none"} if task.kind == "multilabel" else set(task.classes)
    if unknown := [name for name in names if name not in known]:
        return (), no_class(f"label {unknown[0]!r}", unknown[0], [*task.classes, *data.label_names])
    if task.kind == "multilabel":
        return tuple(float(name in names) for name in task.classes), ""
    return (float(task.classes.index(names[0])),), ""


def no_class(what: str, name: str, classes: Iterable[str]) -> str:
    """That `what` is no class of the recipe, and which class it may have been meant for."""
    near = nearest(name, classes)
    return f"{what} is no class of the recipe" + (f": did you mean {near!r}?" if near else "")


def nearest(name: str, classes: Iterable[str]) -> str:
    """The class that `name` is a misspelling of, or nothing."""
    folded: dict[str, str] = {}
    for one in classes:
        folded.setdefault(one.strip().casefold(), one)
    key = name.strip().casefold()
    if key in folded:
        return folded[key]
    near = difflib.get_close_matches(key, folded, n=1, cutoff=_SIMILAR)
    return folded[near[0]] if near else ""


def label_of_findings(recipe: Recipe, cells: Mapping[str, str]) -> tuple[Label, str]:
    """Label and problem of a row with one column of 1, 0, -1 (not sure) or nothing (unknown) for each finding.

    CheXpert (Irvin et al. 2019) has -1; ``data.uncertain`` says what it is taken for: unknown, which its authors call
    U-Ignore, positive (U-Ones) or negative (U-Zeros).
    """
    columns = recipe.data.label_columns
    label = []
    for column in columns:
        cell = cells[column].strip()
        plain = match[1] if (match := _ZEROS_BEHIND.fullmatch(cell)) else cell
        if plain == "-1":
            policy = recipe.data.uncertain.get(column, recipe.data.uncertain.get("*", "unknown"))
            label.append({"unknown": NAN, "positive": 1.0, "negative": 0.0}[policy])
        elif plain in _YES_NO:
            label.append(_YES_NO[plain])
        else:
            return (), f"label {cell!r} is not 0, 1, -1 or empty"
    if all(value != value for value in label):  # NaN alone differs from itself
        sure = not any(cells[column].strip() for column in columns)
        return (), "missing label" if sure else "every finding is uncertain"
    return tuple(label), ""
