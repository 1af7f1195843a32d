"""By what an image may be found again without its patient's ID being stored: digests with a key of the box.

A plain hash would not do: IDs are few enough to try them all. The key lies in ``OUT/search.key``, for the service's
user alone. The page makes it where the administrator allows names (``edgedx page --names``); without it nothing is
kept. Who has key and ledger can try IDs, and has the images, too.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.files import atomic_write, private_files, read_regular, storage_error

SEARCH_KEY = "search.key"
_BYTES = 32
_KEPT = 16  # bytes of a digest: enough that two of a million IDs do not meet


def make_search_key(out: Path) -> None:
    """Make the key of an output folder, unless there is one.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    path = out / SEARCH_KEY
    if path.exists():
        return
    try:
        with private_files(0o077), atomic_write(path, make_parent=False) as stream:
            stream.write(secrets.token_hex(_BYTES).encode())
    except OSError as error:
        raise storage_error(path, error) from error


def read_search_key(path: Path) -> bytes | None:
    """The key; None where there is none."""
    try:
        key = bytes.fromhex(read_regular(path, 1024, follow=False).decode("ascii").strip())
    except (InputOutputError, ValueError):
        return None
    return key if len(key) == _BYTES else None


def digests(key: bytes, identifiers: Iterable[str]) -> tuple[bytes, ...]:
    """Digests of IDs as people write them: blanks around and the case of letters make no difference.

    Returns
    -------
    tuple of bytes
        16 bytes each (HMAC-SHA256, RFC 2104); none for an empty ID.
    """
    plain = (unicodedata.normalize("NFKC", text).strip(" \0").casefold() for text in identifiers)
    return tuple(dict.fromkeys(hmac.digest(key, text.encode(), "sha256")[:_KEPT] for text in plain if text))
