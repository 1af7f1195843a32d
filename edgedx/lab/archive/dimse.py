"""A PACS by DIMSE as the source of an archive: one association, listed by C-FIND, fetched by C-GET or C-MOVE."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from edgedx.device.pacs.peer import peer_of
from edgedx.device.pacs.receiver import listen_of

from .access import Access
from .dimse_address import parse
from .dimse_fetch import Fetcher
from .dimse_find import Finder
from .dimse_line import Line


class Dimse:
    """One PACS (see `Pacs`).

    Parameters
    ----------
    source : str
        ``dimse://OUR-TITLE@HOST:PORT/ITS-TITLE?KEYWORD=VALUE``, or the address of one object.
    """

    def __init__(self, source: str, access: Access) -> None:
        self._address = parse(source, access)
        self._line = Line(peer_of(self._address.settings), access.pause)
        self._finder = Finder(self._address, self._line)
        self._fetcher: Fetcher | None = None
        self._lock = Lock()

    def studies(self) -> Iterator[str]:
        """See `Pacs`."""
        return self._finder.studies()

    def objects(self, study: str) -> Iterator[str]:
        """See `Pacs`."""
        for series, instance, sop_class in self._finder.objects(study):
            yield self._address.object(study, series, instance, sop_class)

    def fetch(self, address: str) -> bytes:
        """See `Pacs`."""
        study, series, instance, *rest = parse(address, Access()).place
        with self._lock:
            if self._fetcher is None:
                settings = self._address.settings
                listen = None if settings.receive is None else listen_of(settings)
                self._fetcher = Fetcher(self._line, listen, settings.ae_title)
        return self._fetcher.fetch(study, series, instance, rest[0] if rest else "")

    def close(self) -> None:
        """See `Pacs`."""
        self._line.close()
        if self._fetcher is not None:
            self._fetcher.close()
