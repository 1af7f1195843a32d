"""DICOM objects of results: a sink that leaves a job for each, durable and small, and starts who does them.

::

    OUT/dicom/jobs/KEY.npz      what is not on the disk yet: the image as the model saw it, and the heat map
    OUT/dicom/KEY-sr.dcm        Comprehensive 3D SR       } made by `outputs_worker`, a process of its own
    OUT/dicom/KEY-sc.dcm        colour Secondary Capture  }
    OUT/dicom/KEY.warning.json  why one was not made
    OUT/dicom/outbox.sqlite     what a PACS is to get, and got (`outbox`, `push_worker`)

Nothing of highdicom or pynetdicom is ever in the scanner's process, and no result waits for either.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import StorageError
from edgedx.core.files import storage_error, sync_folder, write_bytes
from edgedx.core.preprocess import Canvas
from edgedx.core.result import Result
from edgedx.device.scanner.sinks import ScannedImage, Sink

from .companion import Companion
from .outbox import folder_of

LOW = 2  # times the disk floor: below it a job is left without its picture, and none is done


@dataclass(frozen=True)
class Wanted:
    """Which objects to make.

    Attributes
    ----------
    sr, sc : bool
        Report; picture.
    refused : bool
        Also a report for an image that was refused: "not assessed", and why.
    push : bool
        Queue what is made for a PACS.
    disk_floor : int
        The scanner's, bytes.
    """

    sr: bool = False
    sc: bool = False
    refused: bool = False
    push: bool = False
    disk_floor: int = 200 << 20


@dataclass(frozen=True)
class Job:
    """One result whose objects are to be made.

    Attributes
    ----------
    source : Path
        The image, in the inbox; empty where it is there no more.
    canvas : ndarray, optional
        As the model saw it; None where the disk was nearly full, or the image was refused.
    evidence : ndarray of shape (h, w), optional
        Where it speaks for the class `shown`.
    """

    source: Path
    canvas: Canvas | None = None
    evidence: NDArray[np.float32] | None = None
    shown: str = ""

    def to_bytes(self) -> bytes:
        """As a npz; the same job gives the same bytes."""
        arrays: dict[str, Any] = {"source": np.frombuffer(os.fsencode(self.source), np.uint8)}
        if self.canvas is not None:
            arrays["canvas"] = self.canvas
        if self.evidence is not None:
            arrays |= {"evidence": self.evidence, "shown": np.frombuffer(self.shown.encode(), np.uint8)}
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # packing it would cost the scanner more than writing it
        return stream.getvalue()

    @classmethod
    def of_bytes(cls, data: bytes) -> Job:
        """Read it back; raises ValueError and its kin where it is damaged."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                Path(os.fsdecode(arrays["source"].tobytes())),
                arrays.get("canvas"),
                arrays.get("evidence"),
                arrays["shown"].tobytes().decode() if "shown" in arrays else "",
            )


def applies(result: Result, wanted: Wanted) -> bool:
    """Whether a result gets an object: its source is DICOM, and it was answered, or refused and that is to be said.

    What was quarantined gets none: its header could not be trusted to say whose it is.
    """
    if result.source.format != "dicom" or not (wanted.sr or wanted.sc):
        return False
    return result.status == "done" or (result.status == "refused" and wanted.sr and wanted.refused)


class DicomOutputs(Sink):
    """A sink: one job for each result that gets an object. The same result again leaves the same job.

    Parameters
    ----------
    companions : tuple of Companion
        Processes that do the jobs and send what they make; none in tests of the sink alone.
    """

    name = "dicom"

    def __init__(self, out: Path, wanted: Wanted, companions: tuple[Companion, ...] = ()) -> None:
        self.out, self.wanted, self._companions = out, wanted, companions
        self._jobs = folder_of(out) / "jobs"
        try:
            self._jobs.mkdir(parents=True, exist_ok=True)
            for left in self._jobs.glob(".*.tmp"):  # by a scanner that was killed while writing
                left.unlink()
            sync_folder(self._jobs.parent)
            sync_folder(out)
        except OSError as error:
            raise storage_error(self._jobs, error) from error
        for companion in companions:
            companion.start()

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Leave the job, durably."""
        if not applies(reading.result, self.wanted):
            return
        job = Job(Path() if source is None else source.absolute())
        if self.wanted.sc and reading.canvas is not None and reading.result.prediction is not None and not self._low():
            shown = reading.shown
            job = Job(job.source, reading.canvas, *((shown.evidence, shown.name) if shown else ()))
        write_bytes(self._jobs / f"{path.stem}.npz", job.to_bytes())
        for companion in self._companions:
            companion.wake()

    def close(self) -> None:
        """Let the processes end what is due, in turn, and wait a while for them."""
        for companion in self._companions:
            companion.end()

    def _low(self) -> bool:
        return disk_is_low(self.out, self.wanted.disk_floor)


def disk_is_low(folder: Path, floor: int) -> bool:
    """Whether less than twice the scanner's floor is free: results come first, so objects stop before them."""
    try:
        return shutil.disk_usage(folder).free < LOW * floor
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}", next_step="is its disk still there?") from error
