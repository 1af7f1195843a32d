"""Source ``folders``: one folder a class, optionally below train, val and test. What fits nowhere is listed as well."""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe import Recipe

from .labels import label_of_text, nearest
from .rows import SUFFIXES, Row, Source, from_files, leave_val_to_edgedx, locate, split_named

_NO_SUFFIX = "(none)"


def open_folders(recipe: Recipe) -> Source:
    """List every file below the data set but hidden ones; files of no class are rows with a problem.

    Raises
    ------
    DataError
        No folder is a class; names the folders that are there.
    """
    root = locate(str(recipe.data.path))
    if not root.is_dir():
        raise DataError(f"{root} is no folder", next_step="source folders reads one folder for each class")
    split_given = any(split_named(item.name) for item in root.iterdir() if item.is_dir())
    split_given = split_given and not any(split_named(name) for name in recipe.task.classes)
    rows = leave_val_to_edgedx([_row(recipe, path.relative_to(root), split_given) for path in files_below(root)])
    if rows and all(row.problem for row in rows):
        _refuse(recipe, root, split_given)
    return from_files(root, rows, str(recipe.data.path), recipe.accept.multi_frame)


def files_below(root: Path) -> list[Path]:
    """Every file below `root` in order, without hidden files and folders."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _row(recipe: Recipe, path: Path, split_given: bool) -> Row:
    name, parts, split = path.as_posix(), path.parts[:-1], ""
    if split_given:
        split = split_named(parts[0]) if parts else ""
        if not split:
            return Row(name, (), problem="in no folder of a split: train, val or test")
        parts = parts[1:]
    if path.suffix.lower() not in SUFFIXES:
        return Row(name, (), split=split, problem=f"no image file: {path.suffix.lower() or _NO_SUFFIX}")
    if not parts:
        return Row(name, (), split=split, problem="in no folder of a class")
    label, problem = label_of_text(recipe, parts[0])
    return Row(name, label, split=split, problem=problem.replace("label ", "folder ", 1) if problem else "")


def _refuse(recipe: Recipe, root: Path, split_given: bool) -> None:
    """Nothing of the set can be used: say which folders there are, and which may have been meant."""
    bases = [item for item in root.iterdir() if item.is_dir() and split_named(item.name)] if split_given else [root]
    present = sorted({item.name for base in bases for item in base.iterdir() if item.is_dir()})
    meant = {name: near for name in present if (near := nearest(name, recipe.task.classes))}
    hint = ", ".join(f"{name}: {near}" for name, near in meant.items())
    raise DataError(
        f"{root}: no images found in folders named {', '.join(recipe.task.classes)}; there are "
        f"{', '.join(present) or 'no folders'}",
        next_step=f"write data.label_names: {{{hint}}}"
        if hint
        else "name task.classes of the recipe as the folders, or check data.path and data.source",
    )
