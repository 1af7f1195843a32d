"""Files that are decoded before the ledger knows them: one reading gives hash and pixels.

The ledger cannot say then which file was being read or answered when a scanner ended. So a mark lies in the output
folder while this goes on, and a scanner that finds one, left by a death, hashes, records and claims each file before it
is decoded, until nothing is left to do. Only what succeeds here is used: any failure is met again, and counted, by the
usual way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from edgedx.core.errors import EdgedxError
from edgedx.core.files import storage_error, sync_folder
from edgedx.device.decode.decoder import DecodedCanvas, Decoder, FileChanged

from .inbox import Inbox
from .readers import Readers

MARK = ".reading-ahead"


class ReadAhead:
    """What was decoded ahead of the ledger, by content.

    Parameters
    ----------
    out : Path
        The output folder, where the mark lies.
    allowed : bool
        Whether it is ever the time for it: not where each file may hold the frames of a whole cine in memory.
    """

    def __init__(self, source: Inbox, readers: Readers, out: Path, *, allowed: bool = True) -> None:
        self._source, self._readers, self._mark = source, readers, out / MARK
        self._decoded: dict[str, DecodedCanvas] = {}
        self._careful, self._marked = self._mark.exists(), False
        self._allowed = allowed

    def begin(self, names: Iterable[str]) -> dict[str, Future[DecodedCanvas | None]]:
        """Have files decoded; nothing where this is not the time for it.

        Raises
        ------
        StorageError
            The mark cannot be written.
        """
        if self._careful or not self._allowed:
            return {}
        self._set_mark()
        return {name: self._readers.run(partial(self._look, name)) for name in names}

    def digest(self, future: Future[DecodedCanvas | None]) -> str | None:
        """Wait for one; SHA-256 of the content that was decoded, which is kept for `take`."""
        decoded = future.result()
        if decoded is None:
            return None
        self._decoded[decoded.sha256] = decoded
        return decoded.sha256

    def take(self, sha256: str) -> DecodedCanvas | None:
        """What a content was decoded to, once."""
        return self._decoded.pop(sha256, None)

    def forget(self) -> None:
        """Let go of what nobody took: contents that were known under another name."""
        self._decoded.clear()

    def trust(self) -> None:
        """All that an earlier scanner may have died of is done."""
        self._careful = False

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take the mark away at an end in order."""
        if kind is None and not self._careful:
            with contextlib.suppress(OSError):
                self._mark.unlink(missing_ok=True)

    def _set_mark(self) -> None:
        if self._marked:
            return
        try:
            self._mark.touch()
            sync_folder(self._mark.parent)
        except OSError as error:
            raise storage_error(self._mark, error) from error
        self._marked = True

    def _look(self, name: str, decoder: Decoder) -> DecodedCanvas | None:
        try:
            return decoder.decode(self._source.path(name), None)
        except (EdgedxError, FileChanged):
            return None
