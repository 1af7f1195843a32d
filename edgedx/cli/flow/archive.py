"""``edgedx archive``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.options import AsJson, Jobs, OnCluster
from edgedx.cli.stopping import at_work

from . import show


def archive(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of images, DICOM or raster; CSV with a column path; https://PACS/dicom-web; or dimse://..."
        ),
    ],
    bundle: Annotated[
        Path, typer.Option(help="The model: a .edgedx file, or the --root that `edgedx install` was given.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the table; on a cluster, one that all nodes share.")],
    variant: Annotated[
        str | None, typer.Option(help="Model of the bundle, e.g. fp32; its own choice unless given.")
    ] = None,
    point: Annotated[
        str | None, typer.Option(help="Operating point (threshold) to decide at, e.g. sensitivity-0.95.")
    ] = None,
    jobs: Jobs = 0,
    on: OnCluster = "local",
    units: Annotated[
        int, typer.Option(min=0, help="Pieces that the work is dealt into; 0: four for each process.")
    ] = 0,
    shard: Annotated[int, typer.Option(min=1, help="Files that are written at once: what a kill may cost.")] = 2000,
    tls_ca: Annotated[
        Path | None, typer.Option(help="dimse: use TLS; PEM file of who signed the certificate of the PACS.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="dimse: our certificate, PEM, where it asks.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    move_to: Annotated[
        str | None, typer.Option(help="dimse: fetch by C-MOVE to this ADDRESS:PORT of ours, not by C-GET.")
    ] = None,
    pause: Annotated[float, typer.Option(min=0, help="dimse: seconds between two requests to the PACS.")] = 0.0,
    json: AsJson = False,
) -> None:
    """Read a whole archive of studies into one Parquet table: one row for each content, answers and refusals.

    Example: edgedx archive /mnt/pacs-export --bundle pneumonia.edgedx --out archive

    Example: edgedx archive "https://pacs/dicom-web?ModalitiesInStudy=CR" --bundle pneumonia.edgedx --out archive

    Example: edgedx archive "dimse://EDGEDX@pacs:104/PACS?StudyDate=20250101-" --bundle pneumonia.edgedx --out archive

    Example: edgedx archive studies.csv --bundle pneumonia.edgedx --out /shared/archive --on ray --units 256

    OUT/results.parquet has what a scanner would answer, OUT/copies.parquet the other paths of the same contents. Files
    are listed once, at the first call; repeat the command to go on after an interruption.
    """
    from edgedx.lab.archive.access import access_of
    from edgedx.lab.archive.archive import Archive
    from edgedx.lab.archive.archive import archive as work

    with at_work(out, "finished shards are kept"):
        access = access_of(tls_ca, tls_certificate, tls_key, move_to, pause)
        order = Archive(source, bundle, out, point, variant, shard, jobs, on, units, access)
        show.archived(work(order), json=json)
