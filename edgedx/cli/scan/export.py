"""``edgedx scan export``: de-identified copies of what was scanned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show

if TYPE_CHECKING:
    from edgedx.dicom.deidentify import Mask


def export(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    to: Annotated[Path, typer.Option(help="Folder for the copies, outside of the inbox and of OUT.")],
    deid: Annotated[bool, typer.Option("--deid", help="De-identify; there is no other export.")] = False,
    result: Annotated[
        list[str] | None, typer.Option(help="Only this result, by how its key (name of its JSON) begins; repeat it.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only results of this status: done (unless given) or refused; repeat it.")
    ] = None,
    since_seq: Annotated[int, typer.Option(min=0, help="Only results from this sequence number on.")] = 0,
    mask: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Paint this over in every image; repeat it.")
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option(help="The scanner's inbox; the one that it scanned last unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy DICOM images with their results to a folder, without who they are of.

    Example: edgedx scan export results --deid --to study --since-seq 1200

    By the Basic Application Level Confidentiality Profile of DICOM PS3.15. Patients and UIDs get pseudonyms made with
    OUT/deid.key: the same patient has the same one in every export, and who has the key can tell whose it is; keep it
    here. An image whose header does not say BurnedInAnnotation NO is left out unless there is a --mask.

    Exits with 1 where something that was selected was left out; it says how many and why.
    """
    from edgedx.core.errors import UsageError
    from edgedx.core.progress import progress
    from edgedx.device.export.deidentified_copies import export as write
    from edgedx.device.export.deidentified_copies import select
    from edgedx.device.operation.heartbeat import scanned_inbox

    if not deid:
        raise UsageError("edgedx exports de-identified copies alone", next_step="add --deid")
    if wrong := set(status or ()) - {"done", "refused"}:
        raise UsageError(f"--status {sorted(wrong)[0]}", next_step="give done or refused")
    masks = [_mask(text) for text in mask or ()]
    results = select(out, status or ["done"], result or (), since_seq)
    with progress("exporting", len(results)) as bar:
        summary = write(results, out, inbox or scanned_inbox(out), to, masks=masks, each=lambda: bar.advance(1))
    show.exported(summary, len(results), out, to, json=json)
    if summary.left_out:
        raise typer.Exit(1)


def _mask(text: str) -> Mask:
    from edgedx.core.errors import UsageError

    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--mask {text}", next_step="give X,Y,WIDTH,HEIGHT in pixels, e.g. 0,0,400,60") from None
    return x, y, width, height
