"""UIDs of what edgedx makes from a result: the same result gives the same UIDs, on every machine and every replay.

Root ``2.25`` (PS3.5 B.2): the decimal value of a UUID, at most 44 characters; nobody has to register anything.
"""

from __future__ import annotations

import uuid
from typing import Literal

from edgedx.core.files import sha256_bytes

Kind = Literal["sr", "sc"]


def object_uid(key: str, kind: str) -> str:
    """SOP Instance UID of one object of a result.

    Parameters
    ----------
    key : str
        Of the result (`core.result.result_key`), not the source's SOP Instance UID: two contents may share that one.
    kind : str
        What it is; another content under the same key needs another kind.
    """
    return _uid("object", kind, key)


def series_uid(study: str, bundle: str, kind: Kind) -> str:
    """Series Instance UID: all that one bundle says of one kind about one study."""
    return _uid("series", kind, study, bundle)


def device_uid(bundle: str) -> str:
    """Device Observer UID: the observer is the bundle, by its digest."""
    return _uid("device", bundle)


def _uid(*words: str) -> str:
    digest = bytes.fromhex(sha256_bytes("\n".join(("edgedx", *words)).encode()))
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
