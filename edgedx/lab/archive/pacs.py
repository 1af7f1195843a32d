"""The PACS that stands behind an address."""

from __future__ import annotations

from edgedx.core.errors import UsageError

from .access import DIMSE, Access, Pacs
from .dicomweb import DicomWeb
from .dimse import Dimse


def pacs_of(source: str, access: Access) -> Pacs:
    """What stands behind an address: of a whole PACS or of one object of it.

    Raises
    ------
    UsageError
        The address is wrong, or `access` says what its protocol has no use for.
    DependencyMissing
        Its library is absent.
    """
    if source.startswith(DIMSE):
        return Dimse(source, access)
    if access != Access():
        raise UsageError(
            "--tls-..., --move-to and --pause are for a source dimse://...",
            next_step="leave them out; a CA for https is named by REQUESTS_CA_BUNDLE, credentials are in ~/.netrc",
        )
    return DicomWeb(source)
