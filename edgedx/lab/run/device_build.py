"""What a run holds for one kind of device: the student's ONNX variants, which of them ships, and the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import CheckpointError, FileGone
from edgedx.core.files import read_json, write_json
from edgedx.core.stats.points import OperatingPoint
from edgedx.core.text import command_line

from .model_folder import METRICS, check_data, read_logits, save_metrics
from .renew import renewal
from .stage import RECORD, read_record


@dataclass(frozen=True)
class CompiledVariant:
    """One ONNX file of the student, and what was measured of it on the workstation.

    Attributes
    ----------
    name : str
        fp32, fp16, int8-u8s8 ...
    path : Path
        The ONNX file.
    entry : mapping
        precision, scheme, purpose, fused, bytes, temperature, operating_points, val, test ...
    """

    name: str
    path: Path
    entry: Mapping[str, Any]

    def here(self) -> CompiledVariant:
        """Itself, whose file is there.

        Raises
        ------
        FileGone
            It is not.
        """
        if not self.path.is_file():
            raise FileGone(self.path)
        return self

    @property
    def folder(self) -> Path:
        """Folder of its logits, beside the file."""
        return self.path.with_suffix("")

    @property
    def temperature(self) -> float:
        """Fitted on the logits that it gives to val."""
        return float(self.entry["temperature"])

    @property
    def points(self) -> list[OperatingPoint]:
        """Chosen on its val logits; the first decides."""
        return [OperatingPoint.model_validate(one) for one in self.entry["operating_points"]]

    @property
    def fused(self) -> bool:
        """Whether its figures come from this CPU's integer kernels, not from its Q/DQ pairs computed in float.

        Records made before ``fused`` was kept say it by their scheme.
        """
        return bool(self.entry.get("fused", self.entry["scheme"] != "trt"))

    def logits(self, *splits: str) -> dict[str, NDArray[np.float32]]:
        """Logits (N, K) by split, as it gave them when it was made."""
        return read_logits(self.folder, *splits)


@dataclass(frozen=True)
class DeviceBuild:
    """``runs/NAME/devices/PROFILE``."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def profile(self) -> str:
        """Name of the device profile."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether its variants are there."""
        return (self.variants_folder / RECORD).is_file()

    @property
    def variants_folder(self) -> Path:
        """Folder of the ONNX variants."""
        return self.path / "variants"

    @property
    def bundle_folder(self) -> Path:
        """Folder of the bundle."""
        return self.path / "bundle"

    @property
    def gate_folder(self) -> Path:
        """Folder of the last verdict asked for."""
        return self.path / "gate"

    @property
    def update_folder(self) -> Path:
        """Folder of what was decided about replacing a deployed model by this build (see `updated`)."""
        return self.path / "update"

    @property
    def record(self) -> dict[str, Any]:
        """Record of the stage that compiled the variants."""
        return read_record(self.variants_folder)

    @property
    def bundle_record(self) -> dict[str, Any] | None:
        """Record of the bundle; None where there is none of these very variants."""
        if not (self.bundle_folder / RECORD).is_file():
            return None
        record = read_record(self.bundle_folder)
        return record if record["inputs"].get("compressed") == self.record["fingerprint"] else None

    @property
    def bundle(self) -> Path | None:
        """The bundle of these very variants; the run may have been moved since it was written."""
        record = self.bundle_record
        path = self.bundle_folder / Path(record["metrics"]["bundle"]).name if record else None
        return path if path is not None and path.is_file() else None

    @property
    def variants(self) -> dict[str, CompiledVariant]:
        """Variants by name.

        Raises
        ------
        FileGone
            Their figures are missing.
        """
        path = self.variants_folder / METRICS
        if not path.is_file():
            raise FileGone(path)
        return {
            name: CompiledVariant(name, self.variants_folder / entry["file"], entry)
            for name, entry in read_json(path)["variants"].items()
        }

    def logits(self, name: str, digest: str, *splits: str) -> dict[str, NDArray[np.float32]]:
        """Logits of a variant by split, of the data set called `digest` (see `model_folder.read_logits`)."""
        check_data(self.variants_folder, self.record, digest)
        return self.variants[name].logits(*splits)

    @property
    def choice(self) -> dict[str, Any]:
        """Which variant ships and why: ``variant``, ``reason``, and latencies where they were measured.

        `edgedx compress` decides it; whoever judges, ships or reports reads it here.

        Raises
        ------
        CheckpointError
            The record does not say it.
        """
        record = self.record
        found = record["metrics"].get("choice")
        if not found or found["variant"] not in record["metrics"]["variants"]:
            raise CheckpointError(
                f"{self.variants_folder / RECORD} does not say which variant the device is to use",
                next_step=renewal(self.variants_folder / RECORD)
                or command_line("compress", "RUN", "--device", self.profile),
            )
        return dict(found)

    def choose(self, variant: str, reason: str) -> None:
        """Say that another variant ships than the one chosen so far, in the record and beside the variants."""
        record, figures = self.record, read_json(self.variants_folder / METRICS)
        figures["choice"] = record["metrics"]["choice"] = {"variant": variant, "reason": reason}
        save_metrics(self.variants_folder, figures)
        write_json(self.variants_folder / RECORD, record)

    @property
    def shipped(self) -> CompiledVariant:
        """The variant that ships.

        Raises
        ------
        FileGone
            Its file is missing.
        """
        return self.variants[str(self.choice["variant"])].here()

    @classmethod
    def of_variant(cls, path: Path) -> DeviceBuild | None:
        """The build that an ONNX file belongs to; None where it lies in none."""
        build = cls(path.parent.parent)
        inside = path.parent == build.variants_folder and (path.parent / METRICS).is_file()
        return build if inside and any(one.path.name == path.name for one in build.variants.values()) else None
