"""The part of edgedx scan that receives by C-STORE."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

Scp = Annotated[
    str | None,
    typer.Option(
        help="Receive DICOM objects into the inbox by C-STORE, as AET@ADDRESS:PORT, or AET@PORT for loopback alone."
    ),
]
CallingAe = Annotated[
    list[str] | None, typer.Option(help="With --scp, who may send: an application entity title; repeat it. '*': any.")
]
TlsCert = Annotated[Path | None, typer.Option(help="With --scp, TLS: our certificate, PEM.")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key, PEM.")]
TlsCa = Annotated[Path | None, typer.Option(help="PEM file of who must have signed the sender's certificate.")]


def reception(
    inbox: Path,
    out: Path,
    *,
    scp: str | None,
    calling: Sequence[str],
    certificate: Path | None,
    key: Path | None,
    authority: Path | None,
    disk_floor: int,
    once: bool,
) -> AbstractContextManager[object]:
    """What `--scp` asks for: receives while the context is held.

    Raises
    ------
    UsageError, DependencyMissing, InputOutputError
        Before anything was started.
    """
    from edgedx.core.errors import UsageError

    if scp is None:
        if calling or any(path is not None for path in (certificate, key, authority)):
            raise UsageError(
                "--calling-ae, --tls-cert, --tls-key and --tls-ca need --scp", next_step="e.g. --scp EDGEDX@11112"
            )
        return nullcontext()
    if once:
        raise UsageError("--scp waits for objects, --once does not", next_step="leave one of them out")
    from edgedx.device.pacs.receiver import parse_listen, receiving

    listen = parse_listen(scp, calling, certificate=certificate, key=key, authority=authority, disk_floor=disk_floor)
    return receiving(inbox, out, listen)
