"""edgedx export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json

if TYPE_CHECKING:
    from edgedx.dicom.deidentify import Mask


def export(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    to: Annotated[Path, typer.Option(help="Folder for the copies, outside of the inbox and of OUT.")],
    deid: Annotated[bool, typer.Option("--deid", help="De-identify; there is no other export.")] = False,
    key: Annotated[list[str] | None, typer.Option(help="How a result's key begins; repeat it.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="done, refused; repeat it. done unless given.")] = None,
    since_seq: Annotated[int, typer.Option(min=0, help="Only results from this sequence on.")] = 0,
    mask: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Paint this over in every image; repeat it.")
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option(help="The scanner's inbox; the one that it scanned last unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy DICOM images with their results to a folder, without who they are of.

    Example: edgedx export results --deid --to study --since-seq 1200

    PS3.15 Basic Application Level Confidentiality Profile. Patients and UIDs get pseudonyms that OUT/deid.key decides:
    the same patient has the same one in every export, and who has the key can tell whose it is; keep it here. An
    image whose header does not say BurnedInAnnotation NO is left out unless there is a --mask.

    Exits with 1 where something that was selected was left out; it says how many and why.
    """
    from edgedx.core.errors import UsageError
    from edgedx.core.progress import progress
    from edgedx.device.operation.deidentified_copies import KEY, select
    from edgedx.device.operation.deidentified_copies import export as write
    from edgedx.device.operation.heartbeat import scanned_inbox

    if not deid:
        raise UsageError("edgedx exports de-identified copies alone", next_step="add --deid")
    if wrong := set(status or ()) - {"done", "refused"}:
        raise UsageError(f"--status {sorted(wrong)[0]}", next_step="give done or refused")
    masks = [_mask(text) for text in mask or ()]
    results = select(out, status or ["done"], key or (), since_seq)
    with progress("exporting", len(results)) as bar:
        found = write(results, out, inbox or scanned_inbox(out), to, masks=masks, each=lambda: bar.advance(1))
    if json:
        print_json({"schema_version": 1, "written": found.written, "left_out": dict(found.left_out), "to": str(to)})
    else:
        typer.echo(f"written   {found.written} of {len(results)} to {to}")
        for code, count in sorted(found.left_out.items()):
            typer.echo(f"left out  {count} {code}")
        typer.echo(f"next      look at what you give away; {out / KEY} can tell who they are and stays here")
    if found.left_out:
        raise typer.Exit(1)


def _mask(text: str) -> Mask:
    from edgedx.core.errors import UsageError

    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--mask {text}", next_step="give X,Y,WIDTH,HEIGHT in pixels, e.g. 0,0,400,60") from None
    return x, y, width, height
