"""Where to receive by C-STORE and from whom, checked before anything starts, and the process for it."""

from __future__ import annotations

import errno
import importlib.util
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError
from edgedx.core.settings.pacs import ANYONE, PacsSettings

from .companion import Companion
from .tls_key import tls_files, warn_of_key

_PATIENCE = 10.0


class Listen(BaseModel):
    """How to receive.

    Attributes
    ----------
    called : str
        Our application entity title; a peer that calls another one is rejected.
    calling : tuple of str
        Titles that may send; empty: any.
    host, port
        The one interface.
    certificate, key, authority : Path, optional
        PEM files for TLS: ours, its key, and who must have signed the peer's.
    disk_floor : int
        Bytes free below which an object is answered 0xA700.
    connections : int
        At a time, half-open ones included.
    memory : int
        Address space of the process, bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    called: str
    calling: tuple[str, ...]
    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    disk_floor: int = 200 << 20
    connections: int = 16
    memory: int = 1 << 30

    def bind(self) -> socket.socket:
        """A bound socket that does not listen yet."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
        except OSError:
            bound.close()
            raise
        return bound

    def tls(self) -> ssl.SSLContext | None:
        """Mutual TLS; None without."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # PS3.15 B.9: the BCP 195 profile
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(path) for path in (self.certificate, self.key, self.authority))
            raise InputOutputError(
                f"TLS: cannot read {files} ({type(error).__name__})",
                next_step="give PEM files, the key without password",
            ) from error
        return context


def listen_of(settings: PacsSettings, *, disk_floor: int = 200 << 20) -> Listen:
    """The section ``receive``; its address is this machine's and its TLS is readable.

    Parameters
    ----------
    disk_floor : int
        Bytes free below which an object is answered 0xA700.

    Raises
    ------
    UsageError
        There is no such section.
    InputOutputError
        The address is not this machine's, the port is not ours to take, or a file of TLS cannot be read.
    DependencyMissing
        pynetdicom is not installed.
    """
    if (receive := settings.receive) is None:
        raise UsageError("receive: there is no such section", next_step="`edgedx scan pacs` prints one")
    if importlib.util.find_spec("pynetdicom") is None:  # not imported: the scanner needs none of it
        raise DependencyMissing("receiving needs pynetdicom", next_step="pip install 'edgedx[net]'")
    calling = () if receive.allow == ANYONE else tuple(receive.allow)
    listen = Listen(
        called=settings.ae_title, calling=calling, host=receive.address, port=receive.port, disk_floor=disk_floor,
        **tls_files(receive.tls),
    )  # fmt: skip
    listen.tls()
    if listen.key is not None:
        warn_of_key(listen.key)
    try:
        listen.bind().close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # by the receiver of a scanner that is ending, perhaps
            raise InputOutputError(
                f"receive.address {listen.host}, receive.port {listen.port}: cannot listen there ({error.strerror})",
                next_step="an address of this machine, and a port above 1023, e.g. 11112",
            ) from error
    return listen


@contextmanager
def receiving(inbox: Path, out: Path, listen: Listen) -> Iterator[Companion]:
    """Receive into an inbox, in a process that is started again whenever it ends."""
    where = [str(inbox.absolute()), str(out.absolute())]
    companion = Companion(
        "receiver", "edgedx.device.pacs.receive_worker", [*where, listen.model_dump_json()], patience=_PATIENCE
    )
    companion.start()
    try:
        yield companion
    finally:
        companion.end()
