"""One process of an archive: shards one by one, each to a part of the table that is whole or not there.

The files are read by the scanner's own decoder processes, rules and model, so that a row says what a scanner would.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from edgedx.core.errors import EdgedxError, ImageError, InputOutputError
from edgedx.core.files import atomic_write
from edgedx.core.result import Result, result_key
from edgedx.device.decode.decoder import DecodedCanvas, Decoder, FileChanged
from edgedx.device.install.active import open_any
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.predict import Predictor
from edgedx.device.scanner.examine import AdmittedImage, Examiner, Retry
from edgedx.device.scanner.facts import Item
from edgedx.device.scanner.inbox import LARGEST, Inbox
from edgedx.device.scanner.readers import Readers, decoders_for

from .access import Access, NotGiven, Objects, is_pacs
from .listing import shard_of
from .pacs import pacs_of
from .parquet import parquet, row_of, row_of_missing, schema_of
from .plan import Plan, part_of, read_plan

BATCH = 16
_AHEAD = 4
"""Batches that are decoded while one is answered."""
_GROUP = 1024
"""Rows that are written at once."""
T = TypeVar("T")
Outcome = AdmittedImage | Result | NotGiven


def work(out: Path, numbers: Sequence[int], decoders: int, access: Access) -> None:
    """Make the parts of these shards that are not there yet.

    Parameters
    ----------
    decoders : int
        Decoder processes beside this one.
    access : Access
        To a PACS.

    Raises
    ------
    InputOutputError
        A file is not there or cannot be opened: a table that misses it in silence would be wrong.
    """
    parquet()  # its import takes as long as a hundred images
    plan = read_plan(out)
    bundle = open_any(Path(plan.bundle_path))
    if bundle.digest != plan.bundle:
        raise InputOutputError(
            f"{plan.bundle_path} is another bundle now than when this archive was begun",
            next_step="give the one of then, or another --out",
        )
    pacs = pacs_of(plan.source, access) if is_pacs(plan.source) else None
    objects = Objects(pacs) if pacs else None
    runner = open_runner(bundle, variant=plan.variant, threads=1)
    with runner:
        check_golden(bundle, runner, plan.variant)
        predictor = Predictor(bundle, runner, operating_point=plan.operating_point, variant=plan.variant)
        children = decoders_for(bundle, decoders, out)
        examiner = Examiner(bundle, plan.variant, predictor, children[0], settle=0.0)
        readers = Readers(examiner, children)
        try:
            readers.warm()
            for number in numbers:
                if not part_of(out, number).is_file():
                    begun = time.time()
                    _make(out, plan, number, examiner, readers, objects)
                    print(json.dumps({"shard": number, "begun": begun, "ended": time.time()}), flush=True)
        finally:
            readers.close()
            if pacs:
                pacs.close()


def _make(out: Path, plan: Plan, number: int, examiner: Examiner, readers: Readers, objects: Objects | None) -> None:
    pa, pq = parquet()
    classes = examiner.bundle.manifest.classes
    schema = schema_of(classes)
    paths = shard_of(out, number, plan.size)
    first = number * plan.size
    with (
        atomic_write(part_of(out, number)) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        batches = _by(BATCH, enumerate(paths, first))
        begun: list[tuple[list[bytes], Future[list[Outcome]]]] = []
        told: list[dict[str, Any]] = []
        while True:
            while len(begun) < max(_AHEAD, 2 * len(readers)) and (batch := next(batches, None)):
                # One task for a batch: threads that wake each other for each image cost time.
                begun.append(([path for _, path in batch], readers.run(partial(_read_all, examiner, objects, batch))))
            if not begun:
                break
            names, outcomes = begun.pop(0)
            told += [
                row_of_missing(one, path, schema) if isinstance(one, NotGiven) else row_of(one, path, classes)
                for path, one in zip(names, _answered(examiner, outcomes.result()), strict=True)
            ]
            if len(told) >= _GROUP or not begun:
                writer.write_table(pa.Table.from_pylist(told, schema=schema))
                told = []


def _answered(examiner: Examiner, outcomes: Sequence[Outcome]) -> list[Result | NotGiven]:
    admitted = iter(examiner.answer([one for one in outcomes if isinstance(one, AdmittedImage)]))
    return [next(admitted).result if isinstance(one, AdmittedImage) else one for one in outcomes]


def _read_all(
    examiner: Examiner, objects: Objects | None, batch: Sequence[tuple[int, bytes]], decoder: Decoder
) -> list[Outcome]:
    return [_read(examiner, objects, place, path, decoder) for place, path in batch]


def _read(examiner: Examiner, objects: Objects | None, place: int, where: bytes, decoder: Decoder) -> Outcome:
    if objects is None:
        return _read_file(examiner, place, Path(os.fsdecode(where)), decoder)
    try:
        with objects.file(os.fsdecode(where)) as path:
            return _read_file(examiner, place, path, decoder)
    except NotGiven as error:
        return error


def _read_file(examiner: Examiner, place: int, path: Path, decoder: Decoder) -> AdmittedImage | Result:
    """One reading gives hash and pixels; what fails is hashed and tried again as a scanner does it."""
    name = path.name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputOutputError(
            f"file {place + 1} of the listing cannot be opened: {error.strerror}",
            next_step="mount what is missing and repeat the command; or begin anew with another --out",
        ) from error
    if size <= LARGEST:
        try:
            decoded: DecodedCanvas = decoder.decode(path, None)
            return examiner.admit(_item(examiner, place, decoded.sha256, name, size), name, decoded)
        except (ImageError, FileChanged):
            pass
    source, own = Inbox(path.parent), replace(examiner, decoder=decoder)
    sha256 = source.hash(name)
    for attempts in range(100):
        try:
            outcome = own.open(_item(examiner, place, sha256, name, size, attempts), path, name, suspect=False)
        except FileChanged as error:
            raise InputOutputError(
                f"file {place + 1} of the listing changed while it was read", next_step="repeat the command"
            ) from error
        if not isinstance(outcome, Retry):
            return outcome
        time.sleep(outcome.seconds)
    raise AssertionError("the rules of the scanner end after a few attempts")


def _item(examiner: Examiner, place: int, sha256: str, name: str, size: int, attempts: int = 0) -> Item:
    key = result_key(sha256, examiner.bundle.digest)
    return Item(place, key, sha256, name, size, "claimed", attempts, None)


def _by(count: int, items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, count)):
        yield batch


def main() -> int:
    """``python -m edgedx.lab.archive.shard OUT DECODERS ACCESS NUMBER...``: what a unit of the launcher runs."""
    out, decoders, access, *numbers = sys.argv[1:]
    try:
        work(Path(out), list(map(int, numbers)), int(decoders), Access.model_validate_json(access))
    except EdgedxError as error:
        print(f"error: {error}{f'; {error.next_step}' if error.next_step else ''}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
