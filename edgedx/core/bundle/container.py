"""Bytes of a bundle file: a zip of stored files without a gap, and a trailer with signatures and checksum.

The trailer is the zip's comment, in lower-case hex:

    manifest length (8) { key id (16) Ed25519 signature (128) } SHA-256 of every byte before it (64)

The manifest is the first entry, so that it stands at a fixed offset: checksum and signature are checked on raw
bytes, before anything is parsed. The reader then accepts only what the writer here would have written.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedx.core.errors import BundleError
from edgedx.core.files import read_regular

from .signing import Signature

MANIFEST = "manifest.json"
SIGNATURES = "signatures"
"""File of an unpacked bundle that keeps what the trailer said."""
RESERVED = frozenset({MANIFEST, SIGNATURES, "installed.json"})
"""Names beside the parts of an installed bundle."""

MAX_BUNDLE_BYTES = 2 << 30
MAX_MANIFEST_BYTES = 4 << 20
MAX_PARTS = 64
MAX_SIGNATURES = 8

_LENGTH, _ENTRY, _CHECKSUM = 8, 16 + 128, 64
_NAME_CHARS = set("abcdefghijklmnopqrstuvwxyz0123456789.-_/")
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DATE = 1 << 5 | 1  # 1980-01-01 in MS-DOS form, for the same file whenever it is made
_VERSION, _UNIX = 20, 3 << 8
_REGULAR = 0o100644 << 16


@dataclass(frozen=True)
class Envelope:
    """A file whose checksum is right. Nothing in it was parsed, and nobody vouches for it yet."""

    data: bytes
    manifest: bytes
    signatures: tuple[Signature, ...]
    body_length: int
    """Bytes before the trailer."""


def read_envelope(path: Path) -> Envelope:
    """Read a bundle file whole and check what needs no parsing.

    Raises
    ------
    BundleError
        Not a regular file, over the size limit, damaged, or not laid out as a bundle.
    InputOutputError
        Missing or not readable.
    """
    data = read_regular(path, MAX_BUNDLE_BYTES, error=BundleError)
    if hashlib.sha256(data[:-_CHECKSUM]).hexdigest().encode() != data[-_CHECKSUM:]:
        raise BundleError(
            f"{path} is damaged or is not a bundle: its content does not match its checksum",
            next_step="copy it again from where it was made, then compare `sha256sum` on both sides",
        )
    for count in range(MAX_SIGNATURES + 1):
        size = _LENGTH + count * _ENTRY + _CHECKSUM
        at = len(data) - size
        end = data[max(0, at - _END.size) : at]
        if end[:4] == b"PK\x05\x06" and end[-2:] == size.to_bytes(2, "little"):
            return _envelope(data, at, count, path)
    raise _foreign(path, "it has no trailer")


def _envelope(data: bytes, at: int, count: int, path: Path) -> Envelope:
    text = data[at:-_CHECKSUM]
    if re.fullmatch(rb"[0-9a-f]*", text) is None:
        raise _foreign(path, "its trailer is not hex")
    length = int(text[:_LENGTH], 16)
    entries = [text[n : n + _ENTRY].decode() for n in range(_LENGTH, len(text), _ENTRY)]
    signatures = tuple(Signature(entry[:16], bytes.fromhex(entry[16:])) for entry in entries)
    if len({signature.key_id for signature in signatures}) != count:
        raise _foreign(path, "a key has signed twice")
    name = MANIFEST.encode()
    start = _LOCAL.size + len(name)
    manifest = data[start : start + length]
    if length > MAX_MANIFEST_BYTES or not data.startswith(_local(name, manifest)) or len(manifest) != length:
        raise _foreign(path, f"it does not begin with {MANIFEST}")
    return Envelope(data, manifest, signatures, at)


def _foreign(path: object, why: str) -> BundleError:
    return BundleError(
        f"{path} is not laid out as a bundle: {why}",
        next_step="was it made by another version of edgedx? Make it again with `edgedx deploy RUN --overwrite`",
    )


def unpack(envelope: Envelope, where: object, most_parts: int = MAX_PARTS) -> dict[str, bytes]:
    """Files of a bundle by name, the manifest among them, of which there may be `most_parts`.

    Raises
    ------
    BundleError
        It is not byte for byte what `pack` writes for these files.
    """
    data, files, directory, at = envelope.data, dict[str, bytes](), [], 0
    while data.startswith(b"PK\x03\x04", at) and at + _LOCAL.size <= envelope.body_length:
        head = _LOCAL.unpack_from(data, at)
        size, name_length = head[8], head[9]
        raw = data[at + _LOCAL.size : at + _LOCAL.size + name_length]
        name = raw.decode("ascii", "replace")
        start = at + _LOCAL.size + name_length
        content = data[start : start + size]
        if len(files) == most_parts:
            raise BundleError(f"{where}: more than {most_parts} parts")
        if not plain_name(name) or name in files:
            raise BundleError(f"{where}: part name {name!r} is not allowed or stands twice")
        if not data.startswith(_local(raw, content), at):
            raise BundleError(f"{where}: part {name!r} is not a plain stored file")
        files[name] = content
        directory.append(_central(raw, content, at))
        at = start + size
    begin = at
    for name, record in zip(files, directory, strict=True):
        if not data.startswith(record, at):
            raise BundleError(f"{where}: part {name!r} is not a plain stored file")
        at += len(record)
    end = _end(len(files), begin, at, len(data) - envelope.body_length)
    if data[at : envelope.body_length] != end:
        raise _foreign(where, "bytes that belong to no part")
    return files


def pack(manifest: bytes, parts: Mapping[str, bytes], signatures: Sequence[Signature] = ()) -> bytes:
    """The bytes of a bundle file; the same input gives the same bytes."""
    body, directory, at = [], [], 0
    for name, content in [(MANIFEST, manifest), *sorted(parts.items())]:
        head = _local(name.encode(), content)
        body += [head, content]
        directory.append(_central(name.encode(), content, at))
        at += len(head) + len(content)
    table = b"".join(directory)
    trailer = _trailer(len(manifest), signatures)
    end = _end(len(directory), at, at + len(table), len(trailer) + _CHECKSUM)
    return _seal(b"".join([*body, table, end, trailer]))


def resign(envelope: Envelope, signatures: Sequence[Signature]) -> bytes:
    """The same bundle with other signatures: nothing but trailer and its length changes."""
    trailer = _trailer(len(envelope.manifest), signatures)
    size = (len(trailer) + _CHECKSUM).to_bytes(2, "little")
    return _seal(envelope.data[: envelope.body_length - 2] + size + trailer)


def _trailer(manifest_length: int, signatures: Sequence[Signature]) -> bytes:
    if len(signatures) > MAX_SIGNATURES:
        raise BundleError(f"more than {MAX_SIGNATURES} signatures")
    entries = "".join(signature.key_id + signature.value.hex() for signature in signatures)
    return f"{manifest_length:08x}{entries}".encode()


def _seal(data: bytes) -> bytes:
    return data + hashlib.sha256(data).hexdigest().encode()


def _local(name: bytes, content: bytes) -> bytes:
    """Header of an entry, as it stands before its content."""
    size, crc = len(content), zlib.crc32(content)
    return _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name


def _central(name: bytes, content: bytes, offset: int) -> bytes:
    """Its record in the table of contents."""
    size, crc = len(content), zlib.crc32(content)
    head = (b"PK\x01\x02", _UNIX | _VERSION, _VERSION, 0, 0, 0, _DATE, crc, size, size)
    return _CENTRAL.pack(*head, len(name), 0, 0, 0, 0, _REGULAR, offset) + name


def _end(count: int, begin: int, end: int, comment: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, end - begin, begin, comment)


def plain_name(name: str) -> bool:
    """Whether a part may have this name: lower case, relative, nothing hidden, no way up."""
    return (
        0 < len(name) <= 120
        and set(name) <= _NAME_CHARS
        and all(piece and not piece.startswith(".") for piece in name.split("/"))
    )


def signature_lines(signatures: Sequence[Signature]) -> str:
    """What `SIGNATURES` holds: a key id and a signature in hex on each line."""
    return "".join(f"{signature.key_id} {signature.value.hex()}\n" for signature in signatures)


def parse_signatures(text: bytes, where: object) -> tuple[Signature, ...]:
    """Read `signature_lines` back, strictly."""
    lines = text.split(b"\n")
    if lines.pop() != b"" or len(lines) > MAX_SIGNATURES:
        raise BundleError(f"{where} is damaged", next_step="install the bundle again")
    if any(re.fullmatch(rb"[0-9a-f]{16} [0-9a-f]{128}", line) is None for line in lines):
        raise BundleError(f"{where} is damaged", next_step="install the bundle again")
    return tuple(Signature(line[:16].decode(), bytes.fromhex(line[17:].decode())) for line in lines)
