"""The part of edgedx scan that makes DICOM objects and sends them, and ``edgedx scan outbox``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json

if TYPE_CHECKING:
    from edgedx.device.scanner.sinks import Sink

SR = Annotated[bool, typer.Option("--sr", help="Also a DICOM report (Comprehensive 3D SR) of each DICOM image.")]
SC = Annotated[bool, typer.Option("--sc", help="Also a DICOM picture (Secondary Capture), with a heat map if it can.")]
NotAssessed = Annotated[
    bool, typer.Option("--sr-refused", help="With --sr, a report for refused images too: not assessed, and why.")
]
Push = Annotated[str | None, typer.Option(help="Send them to a PACS by C-STORE: AET@HOST:PORT.")]
PushCa = Annotated[Path | None, typer.Option(help="With --push, TLS: PEM file of who signed the PACS' certificate.")]
PushCert = Annotated[Path | None, typer.Option(help="With --push-ca, our certificate, PEM.")]
PushKey = Annotated[Path | None, typer.Option(help="Its key, PEM.")]
AeTitle = Annotated[str, typer.Option(help="With --push, our application entity title.")]

_PATIENCE_S = 10.0  # a stopped service goes on at its next start
_PATIENCE_ONCE_S = 600.0


def dicom_outputs(
    out: Path,
    *,
    sr: bool,
    sc: bool,
    refused: bool,
    push: str | None,
    authority: Path | None,
    certificate: Path | None,
    key: Path | None,
    ae_title: str,
    disk_floor: int,
    once: bool,
) -> Callable[[], list[Sink]]:
    """What `--sr`, `--sc` and `--push` ask for: gives the sinks, and starts their processes, when it is called.

    Raises
    ------
    UsageError, DependencyMissing, InputOutputError
        Before anything was started.
    """
    from edgedx.core.errors import UsageError

    if not (sr or sc):
        if push is not None or refused or authority is not None:
            raise UsageError("--push, --push-ca and --sr-refused need an object", next_step="add --sr, --sc or both")
        return list
    import importlib.util
    from dataclasses import asdict
    from json import dumps

    from edgedx.core.errors import DependencyMissing
    from edgedx.device.pacs.companion import Companion
    from edgedx.device.pacs.outputs import DicomOutputs, Wanted
    from edgedx.device.pacs.peer import parse_peer

    if importlib.util.find_spec("highdicom") is None:  # not imported: the scanner needs none of it
        raise DependencyMissing("--sr and --sc need highdicom", next_step="pip install 'edgedx[sr]'")
    if push is None and authority is not None:
        raise UsageError("--push-ca needs --push", next_step="say where to: --push AET@HOST:PORT")
    if refused and not sr:
        raise UsageError("--sr-refused needs --sr", next_step="add --sr")
    wanted = Wanted(sr=sr, sc=sc, refused=refused, push=push is not None, disk_floor=disk_floor)
    patience = _PATIENCE_ONCE_S if once else _PATIENCE_S
    where = str(out.absolute())
    programs = [("outputs", "edgedx.device.pacs.outputs_worker", dumps(asdict(wanted)))]
    if push is not None:
        peer = parse_peer(push, ae_title, authority=authority, certificate=certificate, key=key)
        programs.append(("push", "edgedx.device.pacs.push_worker", peer.model_dump_json()))

    def make() -> list[Sink]:
        companions = [
            Companion(name, module, [where, settings], patience=patience) for name, module, settings in programs
        ]
        return [DicomOutputs(out, wanted, tuple(companions))]

    return make


def tell_objects(out: Path) -> None:
    """Where the objects are, and what of them the PACS has."""
    from edgedx.device.pacs.outbox import counts_of, folder_of

    typer.echo(f"objects   {folder_of(out)}")
    warnings = len(list(folder_of(out).glob("*.warning.json")))
    if warnings:
        typer.echo(f"warning   {warnings} results without an object: look at *.warning.json there")
    if (counts := counts_of(out)) is not None:
        typer.echo(f"PACS      sent {counts['sent']}, queued {counts['queued']}, failed {counts['failed']}")


def outbox(
    out: Annotated[Path, typer.Argument(help="The --out of the scanner.")],
    retry: Annotated[bool, typer.Option("--retry", help="Try what failed for good once more.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what waits for the PACS, what it got, and what it refused for good.

    Example: edgedx scan outbox results --retry
    """
    from dataclasses import asdict

    from edgedx.core.errors import InputOutputError
    from edgedx.device.pacs.outbox import Outbox, folder_of

    path = folder_of(out) / "outbox.sqlite"
    if not path.is_file():
        raise InputOutputError(f"nothing was ever queued in {out}", next_step="scan with --sr --push AET@HOST:PORT")
    box = Outbox(path, read_only=not retry)
    try:
        again = box.retry() if retry else 0
        counts, failed = box.counts(), box.failed()
    finally:
        box.close()
    if json:
        print_json({"schema_version": 1, **counts, "retried": again, "failures": [asdict(one) for one in failed]})
        return
    typer.echo(f"queued    {counts['queued']} ({counts['queued_bytes'] / 1e6:.1f} MB)")
    typer.echo(f"sent      {counts['sent']}")
    typer.echo(f"failed    {counts['failed']}" + (f", {again} queued again" if again else ""))
    for one in failed[:20]:
        typer.echo(f"  {one.file}  {one.code}  after {one.attempts} attempts")
    if failed:
        typer.echo(f"next      see docs/dicom-outputs.md for the codes; then edgedx scan outbox {out} --retry")
