"""Ed25519 keys and signatures: who made a bundle. The mathematics is the cryptography package's.

What is signed is a fixed prefix and the canonical manifest, which names every part by its hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedx.core.errors import AlreadyExists, DependencyMissing, GateRefused, InputOutputError, UsageError
from edgedx.core.files import read_regular, storage_error, write_secret, write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = b"edgedx bundle manifest 1\n"
"""Before the manifest in what is signed, so that a signature can never be taken for one over something else."""

_SCHEME = "edgedx-ed25519"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with.

    Attributes
    ----------
    name : str
        For people; proves nothing.
    raw : bytes
        32 bytes.
    """

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the raw key."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    def line(self) -> str:
        """The one line of a .pub file."""
        return f"{_SCHEME} {base64.b64encode(self.raw).decode()} {self.name}\n"


@dataclass(frozen=True)
class Signature:
    """64 bytes of Ed25519, and the id of the key that they are said to be of."""

    key_id: str
    value: bytes


class SigningKey:
    """A private key in memory. Use `load_signing_key`."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(name, private.public_key().public_bytes_raw())

    def sign(self, manifest: bytes, prefix: bytes = PREFIX) -> Signature:
        """Sign a canonical manifest; `prefix` says of what kind of file it is."""
        return Signature(self.public.id, self._private.sign(prefix + manifest))


def parse_public(text: str, where: str) -> PublicKey:
    """Read the line of a .pub file, strictly: scheme, base64 of 32 bytes, name.

    Raises
    ------
    InputOutputError
        It is anything else.
    """
    pieces = text.split(" ")
    name = pieces[-1].removesuffix("\n")
    try:
        raw = base64.b64decode(pieces[1], validate=True) if len(pieces) == 3 else b""
    except (binascii.Error, ValueError):
        raw = b""
    key = PublicKey(name, raw)
    exact = key.line() == text.removesuffix("\n") + "\n"
    if pieces[0] != _SCHEME or len(raw) != 32 or not _NAME.fullmatch(name) or not exact:
        raise InputOutputError(
            f"{where} is not a public key of edgedx: one line `{_SCHEME} BASE64 NAME`",
            next_step="take the .pub file that `edgedx keys new` wrote, not the .key file",
        )
    return key


def read_public(path: Path, *, follow: bool = True) -> PublicKey:
    """Read a .pub file (see `parse_public`); `follow`: whether it may be a symbolic link."""
    return parse_public(read_regular(path, 1 << 14, follow=follow).decode("ascii", "replace"), str(path))


def new_key(name: str, folder: Path, password: str | None = None) -> tuple[Path, Path]:
    """Make ``NAME.key`` (PKCS8 PEM, mode 0600) and ``NAME.pub`` in `folder`; returns both paths.

    Parameters
    ----------
    password : str, optional
        Encrypts the private key.

    Raises
    ------
    UsageError
        The name is not one for a file, or the password is empty.
    AlreadyExists
        Either file is there: a key is never overwritten.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a key", next_step="use letters, digits, '.', '_' and '-', 40 at most")
    if password == "":
        raise UsageError("the password is empty", next_step="give one, or leave --password out")
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (secret, public):
        if path.exists():
            raise AlreadyExists(f"{path} is there; a key is never overwritten", next_step="choose another name")
    crypto = _cryptography()
    private = crypto.ed25519.Ed25519PrivateKey.generate()
    serialization = crypto.serialization
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_secret(secret, pem)
    write_text(public, SigningKey(name, private).public.line())
    return secret, public


def load_signing_key(path: Path, password: str | None = None) -> SigningKey:
    """Read a private key.

    Raises
    ------
    UsageError
        It is encrypted and the password is missing or wrong.
    InputOutputError
        It is no Ed25519 key in PEM, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            pem = stream.read(1 << 16)
    except OSError as error:
        raise storage_error(path, error) from error
    crypto = _cryptography()
    try:
        private = crypto.serialization.load_pem_private_key(pem, password.encode() if password else None)
    except TypeError as error:  # encrypted and no password, or a password for a key in the clear
        if password:
            return load_signing_key(path)
        raise UsageError(f"{path} is encrypted", next_step="set EDGEDX_KEY_PASSWORD, or type it when asked") from error
    except ValueError as error:
        if b"ENCRYPTED" in pem and password:
            raise UsageError(f"the password of {path} is wrong", next_step="check EDGEDX_KEY_PASSWORD") from error
        raise _no_key(path) from error
    except crypto.UnsupportedAlgorithm as error:
        raise _no_key(path) from error
    if not isinstance(private, crypto.ed25519.Ed25519PrivateKey):
        raise _no_key(path)
    return SigningKey(path.stem, private)


def is_encrypted(path: Path) -> bool:
    """Whether a private key needs a password."""
    try:
        with path.open("rb") as stream:
            return b"ENCRYPTED" in stream.read(1 << 10)
    except OSError as error:
        raise storage_error(path, error) from error


def _no_key(path: Path) -> InputOutputError:
    return InputOutputError(f"{path} is not an Ed25519 private key", next_step="make one with `edgedx keys new NAME`")


def require_signature(
    manifest: bytes, signatures: Sequence[Signature], keys: Sequence[PublicKey], where: object
) -> PublicKey:
    """The first of `keys` that has signed; one is enough, so that keys can be changed one after the other.

    Raises
    ------
    GateRefused
        None has: not signed, signed by others, or a signature that does not fit.
    """
    signer, spoiled = signer_of(manifest, signatures, keys)
    if signer is not None:
        return signer
    known = ", ".join(str(key) for key in keys)
    if spoiled is not None:
        raise GateRefused(
            f"{where}: the signature by {spoiled} does not fit: it was changed after it was signed, or is forged",
            next_step="do not use it; fetch the bundle again from where it was made",
        )
    if signatures:
        others = ", ".join(signature.key_id for signature in signatures)
        raise GateRefused(
            f"{where} is signed by {others}, and this device trusts only {known}",
            next_step="sign it with a trusted key, or, if you trust its maker, `edgedx keys pin FILE.pub --root DIR`",
        )
    raise GateRefused(
        f"{where} is not signed, and this device takes only what is signed by {known}",
        next_step="sign it with that key: `edgedx keys sign BUNDLE --key FILE`",
    )


def signer_of(
    manifest: bytes, signatures: Sequence[Signature], keys: Sequence[PublicKey], prefix: bytes = PREFIX
) -> tuple[PublicKey | None, PublicKey | None]:
    """The first of `keys` that has signed, and the first whose signature is there and does not fit; None where none."""
    trusted = {key.id: key for key in keys}
    crypto = _cryptography()
    spoiled = None
    for signature in signatures:
        key = trusted.get(signature.key_id)
        if key is None:
            continue
        try:
            crypto.ed25519.Ed25519PublicKey.from_public_bytes(key.raw).verify(signature.value, prefix + manifest)
            return key, spoiled
        except crypto.InvalidSignature:
            spoiled = spoiled or key
    return None, spoiled


class _Crypto:
    """The names of the cryptography package that are used here."""

    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519

        self.InvalidSignature, self.UnsupportedAlgorithm = InvalidSignature, UnsupportedAlgorithm
        self.serialization, self.ed25519 = serialization, ed25519


def _cryptography() -> Any:
    try:
        return _Crypto()
    except ImportError as error:
        raise DependencyMissing(
            "signatures need the package cryptography, which is not installed", next_step="pip install cryptography"
        ) from error
