"""``edgedx predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson

from . import show


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, DICOM or raster, and folders of them.")],
    bundle: Annotated[
        Path, typer.Option(help="The model: a .edgedx file, or the --root that `edgedx install` was given.")
    ],
    variant: Annotated[
        str | None, typer.Option(help="Model of a bundle, e.g. fp32; its own choice unless given.")
    ] = None,
    point: Annotated[
        str | None, typer.Option(help="Operating point (threshold) to decide at, e.g. sensitivity-0.95.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Predict images now, without an inbox: probabilities, decision, and what speaks against it.

    Example: edgedx predict chest.dcm --bundle pneumonia.edgedx

    Nothing is written. Images are read in this process: for files of strangers, and for a service that loses nothing,
    use `edgedx scan`. Exits with 5 where no image could be read.
    """
    from edgedx import open_model

    with open_model(bundle, variant=variant, operating_point=point) as model:
        predictions = []
        for path in images:
            result = model.predict(path)
            predictions += result if isinstance(result, list) else [result]
        show.predictions(predictions, model.name, json=json)
    if all(one.status == "unreadable" for one in predictions):
        raise typer.Exit(5)
