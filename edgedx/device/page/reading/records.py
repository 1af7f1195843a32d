"""All that the views read, and the answers that they write, opened once for one page."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from edgedx.core.errors import ImageError
from edgedx.device.clinic.answers import ANSWERS, Answers, is_blind
from edgedx.device.decode.search import SEARCH_KEY, digests, read_search_key

from .heartbeat import inbox_of
from .ledger import Ledger, Row
from .pictures import Pictures, View
from .results import ResultFile


class Records:
    """Of one output folder.

    Parameters
    ----------
    out : Path
    root : Path, optional
        Device root, for what the model saw.
    inbox : Path, optional
        Where the originals are; as the scanner says unless given.
    share : float
        Of blind reads.
    """

    def __init__(self, out: Path, root: Path | None, inbox: Path | None, share: float) -> None:
        self.out, self.root, self.share = out, root, share
        self.ledger, self.pictures = Ledger(out, share), Pictures()
        self._inbox, self._lock = inbox, Lock()
        self._answers: Answers | None = None

    @property
    def answers(self) -> Answers:
        """Opened, and made, when it is first needed; raises StorageError."""
        with self._lock:
            if self._answers is None:
                self._answers = Answers(self.out / ANSWERS)
            return self._answers

    def count_answers(self) -> int:
        """Answers in force."""
        return self.answers.count() if (self.out / ANSWERS).exists() else 0

    def answered(self, rows: list[Row], person: str) -> set[str]:
        """Keys of those that a person has answered."""
        if not rows or not (self.out / ANSWERS).exists():
            return set()
        return self.answers.answered([row.key for row in rows], person)

    def is_hidden(self, row: Row, person: str) -> bool:
        """Whether this person answers this image before the model's answer is shown."""
        drawn = row.status == "done" and is_blind(row.sha256, row.bundle, self.share)
        return drawn and row.key not in self.answered([row], person)

    def search(self, words: str) -> list[Row]:
        """Images of one patient ID, accession number or file name, exactly."""
        key = read_search_key(self.out / SEARCH_KEY)
        found = {row.place: row for one in digests(key, [words]) for row in self.ledger.found_by(one)} if key else {}
        found |= {row.place: row for row in self.ledger.named(words)}
        return [found[place] for place in sorted(found, reverse=True)]

    def original(self, row: Row) -> Path | None:
        """The file of an image in the inbox; None where it is gone."""
        inbox = self._inbox or inbox_of(self.out)
        if inbox is None:
            return None
        paths = (inbox / name for name in self.ledger.files_of(row.sha256))
        return next((path for path in paths if os.path.isfile(path)), None)

    def picture(self, row: Row, result: ResultFile, view: View) -> bytes:
        """One picture of an image as PNG.

        Raises
        ------
        ImageError
            See `Pictures.draw`.
        """
        drawn = self.out / "results" / f"{row.key[:32]}.png"
        if view == "map" and drawn.is_file() and drawn.stat().st_size < 32 << 20:
            return drawn.read_bytes()
        path = self.original(row)
        if path is None:
            raise ImageError("GONE", "the original is not in the inbox any more")
        return self.pictures.draw(
            row.key, view, path, row.sha256, frame=result.frame, bundle=self.root, digest=row.bundle,
            variant=str(result.runtime.get("variant")),
        )  # fmt: skip

    def close(self) -> None:
        """Close everything."""
        self.ledger.close()
        self.pictures.close()
        if self._answers is not None:
            self._answers.close()
