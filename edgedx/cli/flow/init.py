"""``edgedx init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Overwrite

from . import show


def init(
    data: Annotated[Path, typer.Argument(help="Folder with images (one folder a class, or a table), or the table.")],
    out: Annotated[Path | None, typer.Option(help="Recipe to write; NAME.yaml here unless given.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with the class; guessed unless given.")] = None,
    patient: Annotated[str | None, typer.Option(help="The column with the patient; guessed unless given.")] = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Look at your images and write a short recipe for them, with what was guessed and why as comments.

    Example: edgedx init lungs/

    Example: edgedx init study/labels.csv --label diagnosis --patient case_no

    It takes a folder for each class, perhaps below train, val and test; a table (CSV or TSV) of PNG, JPEG, TIFF, BMP,
    WebP or DICOM files; or a tree of DICOM files. Nothing is copied or changed. Then: edgedx data check RECIPE, and
    edgedx finetune RECIPE.
    """
    from edgedx.core.errors import AlreadyExists
    from edgedx.core.files import write_text
    from edgedx.core.settings.recipe import load_recipe
    from edgedx.lab.data.start.guess import guess_recipe
    from edgedx.lab.data.start.write_recipe import recipe_text

    guess = guess_recipe(data, label=label, patient=patient)
    path = out or Path(f"{guess.sections['name']}.yaml")
    if path.exists() and not overwrite:
        raise AlreadyExists(f"{path} is there already", next_step="give another name with --out, or --overwrite")
    text = recipe_text(guess)
    write_text(path, text)
    load_recipe(str(path))  # what is written can be read
    show.started(guess, text, path, json=json)
