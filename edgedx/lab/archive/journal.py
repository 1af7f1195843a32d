"""Which objects a PACS has: asked study by study, and kept, so that a call after a kill goes on with the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgedx.core.files import storage_error
from edgedx.core.progress import progress

from .access import Pacs

JOURNAL = "listing.studies"


def addresses_of(pacs: Pacs, source: str, out: Path) -> Iterator[bytes]:
    """Addresses of all objects of a PACS, by study. `forget` removes the journal when they are listed.

    Raises
    ------
    InputOutputError
        The PACS does not answer, or the folder cannot be written.
    """
    journal = out / JOURNAL
    try:
        known = _continue(journal, source)
        studies = [study for study in pacs.studies() if study not in known]
        with journal.open("a", encoding="utf-8") as stream, progress("listing studies", len(studies)) as bar:
            for study in studies:
                stream.write(json.dumps([study, *pacs.objects(study)]) + "\n")
                stream.flush()
                bar.advance()
        with journal.open(encoding="utf-8") as stream:
            next(stream)
            for line in stream:
                yield from (address.encode() for address in json.loads(line)[1:])
    except OSError as error:
        raise storage_error(journal, error) from error


def forget(out: Path) -> None:
    """The listing is whole."""
    (out / JOURNAL).unlink(missing_ok=True)


def _continue(journal: Path, source: str) -> set[str]:
    """Studies that are in the journal already. A last line that a kill cut off goes, and what is of another source."""
    known, whole = set[str](), 0
    first = json.dumps(source).encode() + b"\n"
    if journal.is_file():
        with journal.open("rb") as stream:
            for number, line in enumerate(stream):
                if not line.endswith(b"\n") or (number == 0 and line != first):
                    break
                whole += len(line)
                if number:
                    known.add(json.loads(line)[0])
    with journal.open("ab") as stream:
        stream.truncate(whole)
        if not whole:
            stream.write(first)
    return known
