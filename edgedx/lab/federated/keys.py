"""Keys of sites, and a certificate for a server that has none: what proves who is who."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgedx.core.errors import AlreadyExists, InputOutputError, UsageError
from edgedx.core.files import write_bytes

_SECRET, _PUBLIC, _CERTIFICATE = ".key", ".pub", ".pem"
_YEARS = 2


def new_site_key(name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.key`` (P-384, mode 0600; stays at the site) and ``NAME.pub`` (goes to the server)."""
    key = ec.generate_private_key(ec.SECP384R1())
    secret, public = folder / f"{_plain(name)}{_SECRET}", folder / f"{name}{_PUBLIC}"
    _refuse_existing(secret, public)
    write_bytes(public, _public_pem(key.public_key()))
    _write_secret(secret, key)
    return secret, public


def new_certificate(host: str, folder: Path) -> tuple[Path, Path]:
    """Write ``HOST.pem``, signed by itself, and ``HOST.key``, for a server without a certificate of an authority.

    The sites are given ``HOST.pem`` as ``--ca``: they then trust this server and no other.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, secret = folder / f"{_plain(host)}{_CERTIFICATE}", folder / f"{host}{_SECRET}"
    _refuse_existing(certificate, secret)
    try:
        other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        other = x509.DNSName(host)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    write_bytes(certificate, made.public_bytes(serialization.Encoding.PEM))
    _write_secret(secret, key)
    return certificate, secret


def read_site_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A site's private key.

    Raises
    ------
    InputOutputError
        Not there, or no such key.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputOutputError(f"{path}: no key of a site", next_step="edgedx federated key NAME") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputOutputError(f"{path}: a key of another kind", next_step="edgedx federated key NAME")
    return key


def listed_sites(folder: Path) -> dict[str, bytes]:
    """Names and public keys of the sites that a folder lists, one ``NAME.pub`` each.

    Raises
    ------
    UsageError
        None, or two files hold the same key.
    InputOutputError
        One is no such key.
    """
    sites: dict[str, bytes] = {}
    for path in sorted(folder.glob(f"*{_PUBLIC}")):
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except ValueError as error:
            raise InputOutputError(f"{path}: no public key of a site", next_step="edgedx federated key NAME") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InputOutputError(f"{path}: a key of another kind", next_step="edgedx federated key NAME")
        if _public_pem(key) in sites.values():
            raise UsageError(f"{path}: another file holds the same key", next_step="one file for each site")
        sites[path.stem] = _public_pem(key)
    if not sites:
        raise UsageError(
            f"{folder}: no {_PUBLIC} file, so no site may take part",
            next_step="collect each site's NAME.pub there; a site makes it with `edgedx federated key NAME`",
        )
    return sites


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_secret(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Never readable by others, not for a moment either."""
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _plain(name: str) -> str:
    if not name or not all(letter.isalnum() or letter in "-_.:" for letter in name) or name.startswith("."):
        raise UsageError(f"{name!r}: a name of letters, digits, dots and hyphens", next_step="for example north")
    return name


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise AlreadyExists(f"{path} is there already", next_step="another name or --out, or remove it by hand")
