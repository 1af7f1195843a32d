"""Files of TLS as the settings name them, and who can read the private key."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from edgedx.core.settings.pacs import ClientTls, ServerTls

log = logging.getLogger("edgedx.scan")


def tls_files(tls: ClientTls | ServerTls | None) -> dict[str, Path | None]:
    """What a `Peer` or `Listen` is told of TLS; nothing where there is none."""
    return {} if tls is None else {"authority": tls.ca, "certificate": tls.certificate, "key": tls.key}


def warn_of_key(path: Path) -> str:
    """Log a warning where others than a key's owner and group can read it, or anybody else can change it.

    Returns
    -------
    str
        The warning; empty where all is well, or the file is not there.
    """
    try:
        facts = os.stat(path)
    except OSError:  # who reads it says so
        return ""
    mode = stat.S_IMODE(facts.st_mode)
    if mode & stat.S_IROTH:
        why = "every user of this machine can read it"
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others than its owner can change it"
    elif facts.st_uid not in (0, os.geteuid()):
        why = f"it belongs to user {facts.st_uid}, who can read and change it"
    else:
        return ""
    text = f"TLS key {path} (mode {mode:o}): {why}; chmod 600, owned by the service's user"
    log.warning("%s", text)
    return text
