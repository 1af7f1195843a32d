"""What python-tuf's client found wrong, in sentences that say what to do: on the phone, to somebody in a clinic."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tuf.api import exceptions
from tuf.api.serialization import DeserializationError

from edgedx.core.errors import EdgedxError, GateRefused, InputOutputError

from .source import Source
from .terms import RELEASES

_AGAIN = "bring a newer copy: `edgedx fleet refresh REPO` where it is made, then copy it to the stick or the server"

_SIGN_ANEW = {
    "root": "whoever keeps the root keys signs it anew (`edgedx fleet rotate REPO root`); then copy it again",
    "targets": "whoever keeps that key signs it anew (`edgedx fleet rotate REPO targets`); then copy it again",
    RELEASES: "whoever publishes signs it anew (`edgedx fleet rotate REPO releases`); then copy it again",
    "snapshot": _AGAIN,
    "timestamp": _AGAIN,
}


def refusal(error: Exception, source: Source, last: Mapping[str, bytes], known: Mapping[str, Any]) -> EdgedxError:
    """The error of ours for one of python-tuf's.

    Parameters
    ----------
    last : mapping
        What came last by role, unverified beyond what the error says.
    known : mapping
        ``root``, ``timestamp``: versions that this device has seen; absent where none.
    """
    where = f"the copy of the repository in {source.where}" if not source.patient else f"the repository {source.where}"
    if isinstance(error, exceptions.ExpiredMetadataError):
        return _expired(error, where, last)
    if isinstance(error, exceptions.BadVersionNumberError):
        return _older(error, where, last, known)
    if isinstance(error, exceptions.UnsignedMetadataError):
        return GateRefused(
            f"{where} is not signed by enough of the keys that this device trusts (its root is version "
            f"{known.get('root', 'unknown')})",
            next_step="the copy must hold every metadata/N.root.json from that version on; if it does, somebody has "
            "changed it: do not use it",
        )
    if isinstance(error, DeserializationError):
        return InputOutputError(
            f"what came from {source.where} is no metadata of a repository",
            next_step="copy it again; on a network, open a web page first: some ask for a login and answer with that"
            if source.patient
            else "copy it to the stick again, and unmount the stick before you pull it out",
        )
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return GateRefused(
            f"{where} sends metadata without end: more than a repository may have",
            next_step="nothing was kept; look at who runs that server",
        )
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return GateRefused(
            f"{where} mixes files of different days: one of them is not the one that another names",
            next_step="copy the whole of metadata/ at once; on a server, timestamp.json last. If that does not help, "
            "somebody has changed it",
        )
    if isinstance(error, exceptions.DownloadHTTPError):
        return InputOutputError(
            f"{where} is not whole: {error}", next_step="is the address right? Copy all of metadata/ and targets/ there"
        )
    if isinstance(error, exceptions.DownloadError):
        return InputOutputError(
            f"{source.where}: {error}", next_step="repeat the command when the line is back; nothing was changed"
        )
    return GateRefused(f"{where} does not hold together: {error}", next_step="copy all of it again; see docs/fleet.md")


def _expired(error: Exception, where: str, last: Mapping[str, bytes]) -> GateRefused:
    role = next((name for name in _SIGN_ANEW if name in str(error).lower()), "timestamp")
    expires = str(_field(last.get(role), "expires") or "earlier")[:10]
    what = {
        "root": "its root keys were to be renewed",
        "targets": "its release keys were to be confirmed",
        RELEASES: "its list of releases was to be signed anew",
    }.get(role, "it is stale: it was good")
    return GateRefused(
        f"{where}: {what} until {expires}, and this device's clock says {time.strftime('%Y-%m-%d', time.gmtime())}; "
        "what was published or withdrawn since is not in it",
        next_step=f"{_SIGN_ANEW[role]}. If the clock is wrong, set that first",
    )


def _older(error: Exception, where: str, last: Mapping[str, bytes], known: Mapping[str, Any]) -> GateRefused:
    brought, seen = _field(last.get("timestamp"), "version"), known.get("timestamp")
    if isinstance(brought, int) and isinstance(seen, int) and brought < seen:
        said = f"{where} is older (number {brought}) than what this device has seen (number {seen})"
    else:
        said = f"{where} is older in a part than what this device has seen, or was put together from several ({error})"
    return GateRefused(said, next_step=_AGAIN)


def _field(data: bytes | None, name: str) -> Any:
    try:
        return json.loads(data or b"{}").get("signed", {}).get(name)
    except (ValueError, AttributeError):
        return None
