"""The page's process: who may reach it, by which certificate, and until when it runs."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError
from edgedx.core.files import private_files
from edgedx.device.operation.notify import notify

from .settings import PageSettings

if TYPE_CHECKING:
    from .door.certificate import Certificate


@dataclass(frozen=True)
class Address:
    """Where a page is served.

    Attributes
    ----------
    host : str
        Address to listen at; ``0.0.0.0`` or ``::`` for all of this machine's.
    port : int
        0: one is chosen.
    https : bool
        TLS and log-in on loopback, too. Elsewhere there is no page without them.
    names : tuple of str
        Under which the page may be asked for, besides those that the machine has by itself.
    certificate, key : Path or None
        PEM files of the site's own authority; the box makes its own where there are none.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    https: bool = False
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Open:
    """What the console is told when the page can be opened.

    Attributes
    ----------
    urls : list of str
    certificate : Certificate or None
        None without TLS.
    code : str
        With which the first administrator is made in the browser; empty where there is one.
    """

    urls: list[str]
    certificate: Certificate | None
    code: str


def serve_page(settings: PageSettings, address: Address, opened: Callable[[Open], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    opened : callable
        Told once, when the page can be opened.

    Raises
    ------
    UsageError
        An address, a certificate or a folder that cannot be.
    InputOutputError, StorageError
        The output folder is not there or cannot be written, or the port is taken.
    DependencyMissing
        The extra ``page`` is not installed.
    """
    check_installed()
    from .door.hosts import is_loopback, own_names, reachable_at

    try:
        host = "127.0.0.1" if address.host == "localhost" else address.host
        secure = address.https or not is_loopback(host)
    except ValueError as error:
        raise UsageError(
            f"--host {address.host} is no address", next_step="give one of this machine's addresses, or 0.0.0.0 for all"
        ) from error
    _check_folders(settings)
    if (address.certificate is None) != (address.key is None):
        raise UsageError("--certificate and --certificate-key go together", next_step="give both, or none")
    if address.certificate and not secure:
        raise UsageError("--certificate is for TLS, and this page has none", next_step="add --https")
    names = tuple(dict.fromkeys(name.lower() for name in (*address.names, *own_names())))
    settings = replace(settings, secure=secure, names=names)
    with private_files():
        _serve(settings, replace(address, host=host), reachable_at(host), opened)


def _serve(settings: PageSettings, address: Address, reached: list[str], opened: Callable[[Open], None]) -> None:
    from uvicorn import Config, Server

    from .app import make_app
    from .door.certificate import given_certificate, own_certificate
    from .door.listening import PatientLoop, PatientProtocol, listen

    listener = listen(address.host, address.port, settings.limits)
    with listener:
        certificate = None
        if address.certificate and address.key:
            certificate = given_certificate(address.certificate, address.key)
        elif settings.secure:
            certificate = own_certificate(settings.out, settings.names, reached)
        app = make_app(settings)
        port = int(listener.getsockname()[1])
        scheme = "https" if certificate else "http"
        urls = [f"{scheme}://{_in_url(one)}:{port}/" for one in reached]
        protocol = type("Protocol", (PatientProtocol,), {"limits": settings.limits})
        config = Config(
            app, http=protocol, ws="none", lifespan="on", log_config=None, log_level="critical", access_log=False,
            proxy_headers=False, server_header=False, timeout_keep_alive=settings.limits.keep_seconds,
            timeout_graceful_shutdown=5, h11_max_incomplete_event_size=16 << 10, backlog=128,
            ssl_certfile=certificate.certificate if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )  # fmt: skip

        class Page(Server):
            async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
                await super().startup(sockets)  # type: ignore[arg-type]
                opened(Open(urls, certificate, app.state.door.first_code()))
                notify("READY=1")

        loop = PatientLoop()
        loop.limits = settings.limits
        with _ended_in_order():
            try:
                asyncio.set_event_loop(loop)
                loop.run_until_complete(Page(config).serve([listener]))
            finally:
                asyncio.set_event_loop(None)
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the page and are no error; uvicorn raises them again when it is done."""
    before = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _check_folders(settings: PageSettings) -> None:
    if not settings.out.is_dir():
        raise InputOutputError(
            f"no folder {settings.out}", next_step="give the --out of a scanner: edgedx scan INBOX --out OUT ..."
        )
    if settings.inbox is not None and not settings.inbox.is_dir():
        raise InputOutputError(f"no folder {settings.inbox}", next_step="create it, or leave --inbox out: no uploads")
    if settings.root is not None and not settings.root.is_dir():
        raise InputOutputError(f"no folder {settings.root}", next_step="give the --root of edgedx install")


def check_installed() -> None:
    """Raise `DependencyMissing` where the extra ``page`` is not installed."""
    from importlib.util import find_spec

    for module in ("starlette", "uvicorn", "jinja2", "python_multipart", "segno"):
        if find_spec(module) is None:
            raise DependencyMissing(
                f"the page needs {module}, which is not installed", next_step='pip install "edgedx[page]"'
            )


def begin_log() -> None:
    """Warnings and errors on stderr, which journald keeps; no line about requests."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
