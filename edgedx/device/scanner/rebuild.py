"""A ledger that is damaged or gone is made anew from the results, and nothing is read twice.

::

    journal.sqlite              the ledger
    journal.sqlite.rebuilding   one that is being made; a kill leaves it, and the next start begins again
    journal.sqlite.damaged-N    what was put aside; `edgedx scan status` complains until a person has looked at it

What had no result yet is found in the inbox again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_json, storage_error, sync_folder
from edgedx.core.result import Result
from edgedx.device.machine.database import BESIDE, DamagedDatabase

from .facts import Finished
from .journal import Journal

log = logging.getLogger("edgedx.scan")

LEDGER = "journal.sqlite"
REASON = ".reason.json"
"""Ending of the file beside a quarantined one that says why."""


def open_ledger(out: Path, bundle: str) -> Journal:
    """The ledger of an output folder, checked, and made anew where it is damaged, or gone though there are results.

    Raises
    ------
    StorageError
        The disk cannot be read or written, or the ledger is of a later version.
    """
    path = out / LEDGER
    try:
        gone = not path.exists() and any((out / "results").glob("*.json"))
        if not gone:
            try:
                journal = Journal(path, bundle)
                try:
                    verdict = _verdict(journal)
                except BaseException:
                    journal.close()
                    raise
                if verdict == "ok":
                    return journal
                journal.close()
            except DamagedDatabase as error:
                verdict = str(error.__cause__)
            log.error("the ledger is damaged, and is made anew from the results: %s", verdict.splitlines()[0][:200])
        else:
            log.error("the ledger is gone, and is made anew from the results")
        return _rebuilt(out, bundle)
    except OSError as error:
        raise storage_error(path, error) from error


def _verdict(journal: Journal) -> str:
    verdict = journal.check(quick=True)
    if verdict == "ok" and (count := journal.unknown_statuses()):
        return f"{count} items have no known status"
    return verdict


def _rebuilt(out: Path, bundle: str) -> Journal:
    path, fresh = out / LEDGER, out / f"{LEDGER}.rebuilding"
    for ending in ("", *BESIDE):
        fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
    journal = Journal(fresh, bundle)
    try:
        count = journal.restore(_results(out))
    finally:
        journal.close()
    if path.exists():
        aside = _free_name(out)
        os.link(path, aside)  # the old name keeps its file until the new one takes its place in one step
        for ending in BESIDE:  # else a journal of the old file would be played back into the new one
            beside = path.with_name(path.name + ending)
            if beside.exists():
                os.replace(beside, aside.with_name(aside.name + ending))
        sync_folder(out)
    os.replace(fresh, path)
    sync_folder(out)
    log.error("the ledger was made anew: %d results", count)
    return Journal(path, bundle)


def _free_name(out: Path) -> Path:
    number = 1
    while (path := out / f"{LEDGER}.damaged-{number}").exists():
        number += 1
    return path


def _results(out: Path) -> list[Finished]:
    """Of whole results, in order of arrival; of what lies in quarantine, the reason beside it says the same.

    A result that cannot be read says nothing about its file, which is read anew where it is in the inbox.
    """
    found: dict[str, Finished] = {}
    for folder, pattern in (("results", "*.json"), ("quarantine", f"*{REASON}")):
        for path in (out / folder).glob(pattern):
            try:
                one = Result.model_validate(read_json(path))
            except (InputOutputError, ValueError):
                continue
            found.setdefault(one.key, Finished(
                *(one.sequence, one.key, one.source.sha256, one.runtime.bundle, one.source.name, one.source.bytes),
                *(one.status, one.reason.code if one.reason else None),
            ))  # fmt: skip
    return sorted(found.values())


def damaged_ledgers(out: Path) -> list[str]:
    """Names of ledgers that were put aside."""
    return sorted(path.name for path in out.glob(f"{LEDGER}.damaged-*") if not path.name.endswith(BESIDE))
