"""A device's status as a signed file, and its way to whoever looks after the fleet: onto a stick, or by HTTPS.

Each status tells all there is to tell, as its counts are totals: one that could not be sent is kept until a newer one
takes its place, and nothing is lost by that.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from edgedx.core.bundle.signing import PublicKey, Signature, SigningKey, load_signing_key, signer_of
from edgedx.core.errors import GateRefused, InputOutputError, UsageError
from edgedx.core.files import canonical_json, lock, read_regular, write_bytes

from .places import folder, read_box, read_record, write_record
from .source import ATTEMPTS, PAUSES_S, Interrupted
from .summary import Summary, summarise
from .trust import box_key

PREFIX = b"edgedx box status 1\n"
ENDING = ".status.json"
MAX_BYTES = 1 << 17
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Told:
    """A status that was made: what it says, the file that is kept on the device, and where it was delivered."""

    summary: Summary
    file: Path
    delivered: str | None
    bytes: int


def seal(summary: Summary, key: SigningKey) -> bytes:
    """A status file: what is said, and the device's signature over it."""
    said = summary.model_dump(mode="json")
    signature = key.sign(canonical_json(said), prefix=PREFIX)
    document = {"status": said, "key": signature.key_id, "signature": signature.value.hex()}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def unseal(data: bytes, keys: Sequence[PublicKey]) -> tuple[Summary, PublicKey | None]:
    """What a status file says, and which of `keys` has signed it: None where it is signed by another one.

    Raises
    ------
    InputOutputError
        It is no status file.
    GateRefused
        Its signature does not fit: it was changed.
    """
    try:
        document = json.loads(data)
        said = document["status"]
        signature = Signature(str(document["key"]), bytes.fromhex(document["signature"]))
        summary, body = Summary.model_validate(said), canonical_json(said)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputOutputError(
            "no status file of a device", next_step="take what `edgedx fleet status` wrote"
        ) from error
    signer, spoiled = signer_of(body, [signature], keys, PREFIX)
    if spoiled is not None:
        raise GateRefused(
            f"the status of {summary.box} was changed after it was signed", next_step="ask the clinic for a new one"
        )
    return summary, signer


def tell(
    root: Path,
    out: Path,
    to: str | None = None,
    *,
    token: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Told:
    """Make a status, keep it in ``ROOT/fleet/status.json``, and deliver it.

    Parameters
    ----------
    to : str, optional
        A folder (a stick) or a file, or ``https://`` address of a folder that takes PUT; the file's name is the
        device's.
    token : Path, optional
        File with the word that the server asks for (``Authorization: Bearer``).

    Raises
    ------
    GateRefused
        The device has no name yet.
    InputOutputError
        It was made and kept, and could not be delivered.
    """
    read_box(root)
    if to is not None and "://" in to:
        _check_address(to)
    with lock(folder(root)):
        record = read_record(root)
        record = record.model_copy(update={"sequence": record.sequence + 1})
        write_record(root, record)  # before it is used: a number never stands for two
        summary = summarise(root, out, record.sequence)
        data = seal(summary, load_signing_key(box_key(root)[0]))
        kept = folder(root) / "status.json"
        write_bytes(kept, data)
    delivered = None if to is None else _deliver(data, summary.box + ENDING, to, token, sleep)
    return Told(summary, kept, delivered, len(data))


def _check_address(to: str) -> None:
    parts = urlsplit(to)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise UsageError(f"{to} is no https:// address", next_step="a status goes by HTTPS, or to a folder")
    if parts.username or parts.password:
        raise UsageError("the address holds a password", next_step="put the server's word into a file: --token FILE")


def _deliver(data: bytes, name: str, to: str, token: Path | None, sleep: Callable[[float], None]) -> str:
    if "://" not in to:
        path = Path(to) / name if Path(to).is_dir() else Path(to)
        write_bytes(path, data)
        return str(path)
    url = to if to.endswith(".json") else f"{to.rstrip('/')}/{name}"
    word = read_regular(token, 1 << 12).decode("ascii", "replace").strip() if token is not None else None
    for attempt in range(ATTEMPTS):
        try:
            _put(url, data, word)
            return url
        except Interrupted as error:
            if attempt == ATTEMPTS - 1:
                raise InputOutputError(
                    f"the status could not be sent to {url}: {error}",
                    next_step="it is kept in ROOT/fleet/status.json; the next call sends a newer one",
                ) from error
            sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
    raise AssertionError


def _put(url: str, data: bytes, word: str | None) -> None:
    import urllib3

    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {word}"} if word else {})}
    context = ssl.create_default_context() if url.startswith("https") else None
    try:
        with urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=30, read=60), retries=False, ssl_context=context
        ) as pool:
            answer = pool.request("PUT", url, body=data, headers=headers, redirect=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Interrupted(f"no answer ({type(error).__name__})") from error
    if answer.status in (401, 403):
        raise InputOutputError(
            f"{url} refuses this device ({answer.status})", next_step="is the word in --token right?"
        )
    if not 200 <= answer.status < 300:
        raise Interrupted(f"the server answered {answer.status}")
