"""Which files an archive holds: a folder, a CSV with a column ``path``, or a PACS; kept as Parquet, cut into shards."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.core.files import atomic_write, storage_error
from edgedx.device.scanner.decide import ignored_entry

from .access import Access, is_pacs
from .journal import addresses_of, forget
from .pacs import pacs_of
from .parquet import parquet

LISTING = "listing.parquet"
COLUMN = "path"
_ROWS = 100_000


def paths_of(where: str) -> Iterator[bytes]:
    """Absolute paths of a source, in an order that does not depend on the machine.

    Of a folder, what a scanner would ignore (hidden and partial files) is left out. Paths of a CSV are relative to it.

    Raises
    ------
    InputOutputError
        The source or a folder in it cannot be read: a part of an archive that is missed in silence is worse than none.
    DataError
        The CSV has no column ``path``, or a row without one.
    """
    source = Path(where)
    if source.is_dir():
        yield from _walk(os.fsencode(source.absolute()))
        return
    if source.suffix.lower() != ".csv":
        raise UsageError(
            f"{source} is neither a folder nor a CSV nor an address",
            next_step=f"give a CSV with a column {COLUMN}, https://PACS/dicom-web, or dimse://...",
        )
    folder = os.fsencode(source.absolute().parent)
    try:
        with source.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            rows = csv.DictReader(stream)
            if COLUMN not in (rows.fieldnames or []):
                raise DataError(
                    f"{source} has no column {COLUMN!r}", next_step="name the column with the files' paths so"
                )
            for number, row in enumerate(rows, 2):
                if not row[COLUMN]:
                    raise DataError(f"{source}, row {number}: no {COLUMN}", next_step="fill it, or remove the row")
                yield os.path.join(folder, os.fsencode(row[COLUMN]))
    except OSError as error:
        raise storage_error(source, error) from error


def _walk(folder: bytes) -> Iterator[bytes]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise InputOutputError(
            f"a folder of the archive cannot be listed: {error.strerror}",
            next_step="give this account the right to read every folder, then repeat the command",
        ) from error
    for entry in entries:
        if ignored_entry(os.fsdecode(entry.name)):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file():
            yield entry.path


def write_listing(source: str, out: Path, access: Access | None = None) -> int:
    """Write ``listing.parquet``, whole or not at all; returns how many files it names.

    A path that stands twice in a CSV is listed once.

    Parameters
    ----------
    access : Access, optional
        Of a PACS.
    """
    if not is_pacs(source):
        return _write(paths_of(source), out)
    pacs = pacs_of(source, access or Access())
    try:
        count = _write(addresses_of(pacs, source, out), out)
    finally:
        pacs.close()
    forget(out)
    return count


def _write(paths: Iterator[bytes], out: Path) -> int:
    pa, pq = parquet()
    schema = pa.schema([(COLUMN, pa.binary())])
    seen: set[bytes] = set()
    with atomic_write(out / LISTING) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        batch: list[bytes] = []
        for path in paths:
            if path in seen:
                continue
            seen.add(path)
            batch.append(path)
            if len(batch) == _ROWS:
                writer.write_table(pa.table({COLUMN: batch}, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.table({COLUMN: batch}, schema=schema))
    return len(seen)


def shard_of(out: Path, number: int, size: int) -> list[bytes]:
    """Paths or addresses of one shard, `size` at most, in their order."""
    _, pq = parquet()
    table: Any = pq.read_table(out / LISTING, memory_map=True).slice(number * size, size)
    paths: list[bytes] = table.column(COLUMN).to_pylist()
    return paths
