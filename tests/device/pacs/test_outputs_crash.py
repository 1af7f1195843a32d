"""A scanner that also leaves jobs for DICOM objects is killed at its steps: each answer has its one job, whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bundles import write_tiny
from instant import FATES, InstantDecoder, Time
from instant import Place as Plain

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.files import sha256_bytes
from edgedx.core.result import result_key
from edgedx.device.decode.decoder import DecodedCanvas
from edgedx.device.pacs.outputs import DicomOutputs, Job, Wanted
from edgedx.device.scanner.scanner import Scanner


class DicomDecoder(InstantDecoder):
    """Says that what it reads is DICOM."""

    def decode(self, path: Path, sha256: str) -> DecodedCanvas:
        return replace(super().decode(path, sha256), format="dicom")


class Place(Plain):
    """Whose scanner leaves jobs."""

    def scanner(self, time: Time | None = None) -> Scanner:
        scanner = super().scanner(time)
        scanner.decoder = DicomDecoder()  # type: ignore[assignment]
        wanted = Wanted(sr=True, sc=True, disk_floor=0)
        scanner.options = replace(scanner.options, sinks=lambda bundle, out: [DicomOutputs(out, wanted)])
        return scanner

    def check(self) -> None:
        super().check()
        done = [sha256_bytes(content.encode()) for content, fate in FATES.items() if fate == "done"]
        names = {result_key(sha, self.bundle.digest)[:32] + ".npz" for sha in done}
        jobs = list((self.out / "dicom/jobs").iterdir())
        assert {path.name for path in jobs} == names
        for path in jobs:
            job = Job.of_bytes(path.read_bytes())
            assert job.canvas is not None and sha256_bytes(job.source.read_bytes()) in done


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


def _kill_at(folder: Path, stride: int) -> None:
    bundle: Bundle = write_tiny(folder / "tiny.edgedx")
    whole = Place(folder / "whole", bundle)
    killed, steps = whole.run()
    assert not killed and steps > 90
    whole.check()
    for at in range(1, steps + 1, stride):
        place = Place(folder / str(at), bundle)
        assert place.run(at)[0] and not place.run()[0]
        place.check()


def test_a_kill_leaves_each_answer_with_its_one_job(folder: Path) -> None:
    _kill_at(folder, 16)


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_each_answer_with_its_one_job(folder: Path) -> None:
    _kill_at(folder, 1)
