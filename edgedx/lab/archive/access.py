"""A PACS as the source of an archive: what any of them is asked, by whichever protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import Field

from edgedx.core.codes import Code
from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.settings.pacs import ClientTls
from edgedx.core.strict import Strict

_PROOF = 100
"""Objects of which the PACS must give one: that it gives none is no fault of theirs."""
DIMSE, WEB = "dimse://", ("https://", "http://")


class Access(Strict):
    """How a PACS is reached by DIMSE, beside its address; may be another each time an archive is gone on with."""

    tls: ClientTls | None = Field(None, description="TLS, for both directions.")
    move_to: str | None = Field(None, description="Our ADDRESS:PORT that the PACS sends to by C-MOVE; else C-GET.")
    pause: float = Field(0.0, ge=0, description="Seconds between two requests.")


def access_of(ca: Path | None, certificate: Path | None, key: Path | None, move_to: str | None, pause: float) -> Access:
    """As the options of the command say it; files are found from anywhere.

    Raises
    ------
    UsageError
        Files of TLS that do not go together.
    """
    if ca is None and (certificate or key):
        raise UsageError("--tls-certificate and --tls-key need --tls-ca", next_step="give who signed the PACS's, too")
    if (certificate is None) != (key is None):
        raise UsageError("--tls-certificate and --tls-key: give both or none")
    files = {"ca": ca, "certificate": certificate, "key": key}
    whole = {name: path.absolute() for name, path in files.items() if path is not None}
    return Access(tls=ClientTls.model_validate(whole) if whole else None, move_to=move_to, pause=pause)


class NotGiven(Exception):
    """The PACS listed an object, and does not give it.

    Parameters
    ----------
    message : str
        Why, in codes of the protocol.
    """

    def __init__(self, message: str, code: Code = Code.NOT_RETRIEVED) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Pacs(Protocol):
    """A PACS that can be listed, and gives objects."""

    def studies(self) -> Iterator[str]:
        """Study Instance UIDs of those that were asked for, rising."""

    def objects(self, study: str) -> Iterator[str]:
        """Addresses of what a study holds, in an order that does not change."""

    def fetch(self, address: str) -> bytes:
        """One object as a DICOM file, called by any thread.

        Raises
        ------
        NotGiven
            It is not there any more, or this one cannot be had.
        InputOutputError
            The PACS does not answer.
        """

    def close(self) -> None:
        """Leave it."""


def is_pacs(source: str) -> bool:
    """Whether a source is the address of a PACS."""
    return source.startswith((DIMSE, *WEB))


def no_answer(what: str) -> InputOutputError:
    """The error of a PACS that does not do what it is asked."""
    return InputOutputError(what, next_step="repeat the command when the PACS answers: what is finished is kept")


class Objects:
    """Objects of a PACS, one by one, each as a file in memory: patient data never touch a disk.

    Parameters
    ----------
    pacs : Pacs
    """

    def __init__(self, pacs: Pacs) -> None:
        self._pacs, self._given, self._asked = pacs, False, 0

    @contextmanager
    def file(self, address: str) -> Iterator[Path]:
        """One object, gone when this is left, and when this process is killed.

        Raises
        ------
        NotGiven, InputOutputError
            See `Pacs.fetch`; the latter also where the PACS gives nothing at all.
        """
        self._asked += 1
        try:
            content = self._pacs.fetch(address)
        except NotGiven as error:
            if not self._given and self._asked >= _PROOF and error.code is Code.NOT_RETRIEVED:
                raise no_answer(f"the PACS gives none of the first {_PROOF} objects: {error.message}") from error
            raise
        self._given = True
        handle = os.memfd_create("object")
        try:
            with os.fdopen(os.dup(handle), "wb") as stream:
                stream.write(content)
            del content
            yield Path(f"/proc/{os.getpid()}/fd/{handle}")  # for the decoder's process, which is this user's
        finally:
            os.close(handle)
