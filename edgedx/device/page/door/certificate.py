"""TLS of the page: a certificate of the box's own, made at the first start, that people know by its fingerprint."""

from __future__ import annotations

import hashlib
import io
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import write_bytes, write_secret

FOLDER = "page"
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_ENDS = "Of edgedx's page, until %Y-%m-%d"
DAYS = 820
"""Apple's devices take no certificate of more than 825 (support.apple.com/103769)."""
_RENEWED = 30
_NOT_BEFORE = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""A box whose clock starts at 1970 makes a certificate that is valid all the same."""


@dataclass(frozen=True)
class Certificate:
    """Certificate and key in files.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the certificate, in pairs of capital hex digits, as browsers show it.
    fresh : bool
        It was made just now: who knew the one before must compare anew.
    """

    certificate: Path
    key: Path
    fingerprint: str
    fresh: bool = False


def own_certificate(out: Path, names: Sequence[str], addresses: Sequence[str]) -> Certificate:
    """The box's certificate, made where there is none, or where it ends within 30 days.

    Parameters
    ----------
    names, addresses : sequence of str
        What a new one is for. One that is there is kept when these change: people know its fingerprint.

    Raises
    ------
    InputOutputError
        The files cannot be read or written.
    """
    certificate, key = out / FOLDER / _CERTIFICATE, out / FOLDER / _KEY
    if not _ends_soon(certificate):
        return Certificate(certificate, key, fingerprint_of(certificate))
    public, private = _make(names, addresses)
    key.unlink(missing_ok=True)
    certificate.unlink(missing_ok=True)  # a kill from here on leaves one without the other, and both are made anew
    write_secret(key, private)
    write_bytes(certificate, public)
    return Certificate(certificate, key, fingerprint_of(certificate), fresh=True)


def given_certificate(certificate: Path, key: Path) -> Certificate:
    """A certificate of the site's own authority.

    Raises
    ------
    UsageError
        They do not belong together, or are none.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"{certificate} and {key}: {error.strerror or 'no certificate with its key'}",
            next_step="give PEM files that belong together, the key without a password",
        ) from error
    return Certificate(certificate, key, fingerprint_of(certificate))


def fingerprint_of(path: Path) -> str:
    """SHA-256 of the first certificate in a PEM file, as ``AB:CD:...``."""
    try:
        text = path.read_text(encoding="ascii")
        first = text[: text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)][text.index(ssl.PEM_HEADER) :]
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()
    except (OSError, ValueError) as error:
        raise InputOutputError(f"{path} is no certificate in PEM", next_step="move it away: it is made anew") from error
    return digest.hex(":").upper()


def _ends_soon(path: Path) -> bool:
    """By the line that stands before the certificate in its file, where PEM has room for text (RFC 7468, 2)."""
    try:
        first = path.read_text(encoding="ascii").splitlines()[0]
        ends = datetime.strptime(first, _ENDS).replace(tzinfo=timezone.utc)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, path.with_name(_KEY))
    except (OSError, ValueError, IndexError):
        return True
    return datetime.now(timezone.utc) > ends - timedelta(days=_RENEWED)


def _make(names: Sequence[str], addresses: Sequence[str]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"edgedx {names[0]}"[:64])])
    begins = max(datetime.now(timezone.utc) - timedelta(days=1), _NOT_BEFORE)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ip_address(one.partition("%")[0])) for one in addresses]
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=False, crl_sign=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    until = made.not_valid_after_utc.strftime(_ENDS).encode()
    return until + b"\n" + made.public_bytes(serialization.Encoding.PEM), private


def terminal_code(url: str, fingerprint: str) -> str:
    """Address and fingerprint as a picture for a phone's camera (QR code), drawn in a terminal.

    The fingerprint follows ``#``, which a browser shows and never sends.
    """
    import segno

    drawn = io.StringIO()
    code = segno.make(f"{url}#{fingerprint.replace(':', '')}", error="l", micro=False)
    code.terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue()
