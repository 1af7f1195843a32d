"""The process that makes DICOM objects from jobs: ``python -m edgedx.device.pacs.outputs_worker OUT SETTINGS``.

A job is removed last, when its objects are durable and queued; so it may be killed at any time. An object that is
there, or was sent, is not made again: under one UID there is only ever one content.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from edgedx.core.errors import EdgedxError, InputOutputError, StorageError
from edgedx.core.files import read_json, sha256_bytes, storage_error, sync_folder, write_bytes, write_json
from edgedx.core.result import Result
from edgedx.dicom.writing.capture_sc import build_capture, capture_uid
from edgedx.dicom.writing.report_sr import build_report, report_uid
from edgedx.dicom.writing.source_header import Unfit, UnfitSource, read_source

from .companion import Caller, alone
from .outbox import Outbox, folder_of
from .outputs import Job, Wanted, disk_is_low

MAX_STARTS = 3
_LOOK = 5.0  # seconds between looks where nobody called
_MEMORY = 2 << 30
_SECONDS = 120
_LONGEST_SOURCE = 1 << 30

Build = Callable[[], bytes]


@dataclass
class Maker:
    """Does the jobs of one output folder.

    Attributes
    ----------
    outbox : Outbox, optional
        Where what is made is queued.
    tell : callable
        Takes a line for the log, without patient data.
    seconds : int
        After which a job ends the process (SIGALRM), which is started again; 0 for never.
    """

    out: Path
    wanted: Wanted
    outbox: Outbox | None = None
    tell: Callable[[str], None] = lambda text: None
    seconds: int = 0

    def run(self) -> int:
        """Do every job that is there; returns how many were done. A disk that is nearly full stops it for now."""
        done = 0
        for job in self._jobs():
            if disk_is_low(self.out, self.wanted.disk_floor):
                break
            signal.alarm(self.seconds)
            try:
                self._one(job)
            finally:
                signal.alarm(0)
            done += 1
        return done

    def _jobs(self) -> list[Path]:
        try:
            found = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(folder_of(self.out) / "jobs")
                     if entry.name.endswith(".npz") and not entry.name.startswith(".")]  # fmt: skip
        except OSError as error:
            raise storage_error(folder_of(self.out), error) from error
        return [Path(path) for _, path in sorted(found)]

    def _one(self, path: Path) -> None:
        name, starts = _name_and_starts(path)
        try:
            if starts >= MAX_STARTS:
                raise UnfitSource(Unfit.CRASHED)
            # Counted before it is begun: what ends this process must not end it for ever.
            begun = path.with_name(f"{name}.{starts + 1}.npz")
            os.replace(path, begun)
            path = begun
            self._make(name, path)
        except UnfitSource as unfit:
            self._warn(name, unfit.code)
        except StorageError:  # the disk's fault: not counted
            with contextlib.suppress(OSError):
                os.replace(path, path.with_name(f"{name}.npz"))
            raise
        except (EdgedxError, ValueError, KeyError, OSError) as error:
            self.tell(f"key={name[:12]} {type(error).__name__}")
            self._warn(name, Unfit.NOT_BUILT)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def _make(self, name: str, path: Path) -> None:
        job = Job.of_bytes(path.read_bytes())
        result = Result.model_validate(read_json(self.out / "results" / f"{name}.json"))
        header = _Header(job.source, result.source.sha256)
        if self.wanted.sr:
            # A refusal's report must not stand in the way of that of an answer.
            kind = "sr" if result.prediction is not None else "not-assessed"
            self._put(report_uid(result), f"{name}-{kind}.dcm", lambda: build_report(result, header.read()))
        if self.wanted.sc and result.prediction is not None:
            if job.canvas is None:
                self._warn(name, Unfit.NO_PICTURE)
            else:
                self._put(capture_uid(result), f"{name}-sc.dcm", lambda: _capture(result, header.read(), job))

    def _put(self, uid: str, file: str, build: Build) -> None:
        target = folder_of(self.out) / file
        if self.outbox is not None and self.outbox.knows(uid):
            return
        if not target.exists():
            try:
                data = build()
            except (UnfitSource, EdgedxError, MemoryError):
                raise
            except Exception as error:  # highdicom raises what it likes, and quotes headers
                self.tell(f"key={file[:12]} highdicom: {type(error).__name__}")
                raise UnfitSource(Unfit.NOT_BUILT) from None
            write_bytes(target, data)
        if self.outbox is not None:
            self.outbox.add(uid, file, target.stat().st_size)

    def _warn(self, name: str, code: Unfit) -> None:
        self.tell(f"key={name[:12]} code={code.name}: no object, or not all; the JSON result is there")
        warning = {"schema_version": 1, "result": f"results/{name}.json", "code": code.name, "message": code.value}
        write_json(folder_of(self.out) / f"{name}.warning.json", warning)


class _Header:
    """The source's header, read once and only when an object is really made."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path, self._sha256 = path, sha256
        self._read: Dataset | None = None

    def read(self) -> Dataset:
        if self._read is None:
            try:
                if self._path.stat().st_size > _LONGEST_SOURCE:
                    raise UnfitSource(Unfit.SOURCE_GONE)
                data = self._path.read_bytes()
            except OSError:
                raise UnfitSource(Unfit.SOURCE_GONE) from None
            if sha256_bytes(data) != self._sha256:
                raise UnfitSource(Unfit.SOURCE_GONE)
            self._read = read_source(data)
        return self._read


def _capture(result: Result, source: Dataset, job: Job) -> bytes:
    from edgedx.dicom.writing.capture_picture import draw_capture

    assert job.canvas is not None
    return build_capture(result, source, draw_capture(result, job.canvas, job.evidence, job.shown))


def _name_and_starts(path: Path) -> tuple[str, int]:
    name, _, starts = path.name.removesuffix(".npz").partition(".")
    return name, int(starts) if starts.isdigit() else 0


def main() -> None:
    """Work until the scanner is gone and no job is left that can be done."""
    import resource

    out, settings = Path(sys.argv[1]), Wanted(**json.loads(sys.argv[2]))
    caller = Caller()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with contextlib.suppress(OSError):
        os.nice(15)  # images come first
    with alone(folder_of(out) / ".making.lock", caller):
        outbox = Outbox(folder_of(out) / "outbox.sqlite") if settings.push else None
        maker = Maker(out, settings, outbox, caller.say, _SECONDS)
        _clear(folder_of(out))
        while True:
            try:
                done = maker.run()
            except InputOutputError as error:  # a full disk: nothing is lost, it is tried again
                caller.say(f"waiting: {type(error).__name__}")
                done = 0
                time.sleep(1.0)
            if caller.gone and not done:
                return
            if not done:
                caller.wait(_LOOK)


def _clear(folder: Path) -> None:
    for left in folder.glob(".*.tmp"):  # by a process that was killed while writing
        left.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
