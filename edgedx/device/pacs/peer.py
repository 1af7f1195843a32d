"""A PACS to send to: address, application entity titles and TLS, parsed and checked before anything starts."""

from __future__ import annotations

import importlib.util
import re
import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError

from .tls_key import warn_of_key

_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")  # PS3.5 6.2: AE


class Peer(BaseModel):
    """Where to send.

    Attributes
    ----------
    called, calling : str
        Application entity titles: of the PACS, and ours.
    authority, certificate, key : Path, optional
        PEM files: who may have signed the PACS' certificate; ours, where it asks for one, and its key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    called: str
    calling: str
    host: str
    port: int
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def tls_arguments(self) -> tuple[ssl.SSLContext, str] | None:
        """For pynetdicom; None without TLS."""
        return None if self.authority is None else (self._context(self.authority), self.host)

    def _context(self, authority: Path) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(authority))
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(path) for path in (authority, self.certificate, self.key) if path is not None)
            raise InputOutputError(
                f"TLS: cannot read {files} ({type(error).__name__})",
                next_step="give PEM files, the key without password",
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # PS3.15 B.9: the BCP 195 profile
        return context


def parse_peer(
    address: str,
    calling: str,
    *,
    authority: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Peer:
    """Read ``AET@HOST:PORT``.

    Raises
    ------
    UsageError
        The address, or an application entity title, is malformed; a certificate without an authority.
    InputOutputError
        A file of TLS cannot be read.
    DependencyMissing
        pynetdicom is not installed.
    """
    called, at, place = address.rpartition("@")
    host, colon, port = place.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not (at and colon and host and 0 < number < 65536):
        raise UsageError(f"--push {address!r} is not AET@HOST:PORT", next_step="e.g. --push ORTHANC@127.0.0.1:4242")
    for name, title in (("--push", called), ("--ae-title", calling)):
        if not _TITLE.fullmatch(title):
            raise UsageError(
                f"{name}: {title!r} is no application entity title",
                next_step="1 to 16 characters of ASCII, no backslash, e.g. EDGEDX",
            )
    if authority is None and (certificate is not None or key is not None):
        raise UsageError("--push-cert and --push-key need --push-ca", next_step="say who signs the PACS' certificate")
    if importlib.util.find_spec("pynetdicom") is None:  # not imported: the scanner needs none of it
        raise DependencyMissing("--push needs pynetdicom", next_step="pip install 'edgedx[net]'")
    paths = {
        name: path.absolute()
        for name, path in (("authority", authority), ("certificate", certificate), ("key", key))
        if path is not None
    }
    peer = Peer(called=called, calling=calling, host=host.strip("[]"), port=number, **paths)
    peer.tls_arguments()  # now, and not when the first result waits
    if peer.key is not None:
        warn_of_key(peer.key)
    return peer
