"""A PACS to send to: address, application entity titles and TLS, checked before anything starts."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError
from edgedx.core.settings.pacs import PacsSettings

from .tls_key import tls_files, warn_of_key


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


def peer_of(settings: PacsSettings) -> Peer:
    """The PACS of the section ``send``, its TLS proven to be readable.

    Raises
    ------
    UsageError
        There is no such section.
    InputOutputError
        A file of TLS cannot be read.
    DependencyMissing
        pynetdicom is not installed.
    """
    if (send := settings.send) is None:
        raise UsageError("send: there is no such section", next_step="`edgedx scan pacs` prints one")
    if importlib.util.find_spec("pynetdicom") is None:  # not imported: the scanner needs none of it
        raise DependencyMissing("sending to a PACS needs pynetdicom", next_step="pip install 'edgedx[net]'")
    peer = Peer(called=send.ae_title, calling=settings.ae_title, host=send.host, port=send.port, **tls_files(send.tls))
    peer.tls_arguments()  # now, and not when the first result waits
    if peer.key is not None:
        warn_of_key(peer.key)
    return peer
