"""Figures from a device that the authors do not have: one JSON file that its owner can send back.

Nothing in it is guessed: what did not run here is "not measured", with the reason. It holds no host name, no serial
number, no path and nothing of any patient; models are named by bundle digest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgedx._version import __version__
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import EdgedxError, UsageError
from edgedx.core.files import write_json
from edgedx.core.timing import measure
from edgedx.device.machine.conditions import read_conditions
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.machine.software import read_software
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.open_runner import open_runner

from .active import open_any

NOT_MEASURED = "not measured"


def is_bundle(target: str) -> bool:
    """Whether a target of `edgedx bench` is a bundle file or an installed one, which needs no torch."""
    path = Path(target)
    return (path.is_file() and path.suffix == ".edgedx") or (
        path.is_dir() and any((path / name).exists() for name in ("current", "manifest.json"))
    )


def record_device(targets: Sequence[str], *, threads: int = 0, batch: int = 1, seconds: float = 3.0) -> dict[str, Any]:
    """Time every variant of bundles on this machine, with the conditions before and after.

    Parameters
    ----------
    targets : sequence of str
        Bundle files, or installed ones such as ``ROOT/current``.
    threads, batch : int
        Of one inference.
    seconds : float
        To measure each variant, after warm-up.

    Raises
    ------
    UsageError
        A target is not a bundle.
    InputOutputError
        One cannot be read.
    """
    for target in targets:
        if not is_bundle(target):
            raise UsageError(
                f"{target} is not a bundle", next_step="give .edgedx files, or installed ones such as ROOT/current"
            )
    bundles = [open_any(Path(target)) for target in targets]
    hardware, software = read_hardware(), read_software()
    before = read_conditions()
    rows = [
        _row(bundle, name, threads=threads, batch=batch, seconds=seconds)
        for bundle in bundles
        for name in bundle.manifest.variants
    ]
    facts = asdict(hardware)
    facts.pop("disk_free_gb")
    return {
        "schema_version": 1,
        "kind": "edgedx device record",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "edgedx": __version__,
        "machine": hardware.label(),
        "hardware": facts,
        "jetpack": hardware.jetson.jetpack if hardware.jetson else None,
        "software": {
            "python": software.python,
            "onnxruntime": software.onnxruntime.version if software.onnxruntime else None,
            "tensorrt": software.tensorrt,
            "tensorrt_rtx": software.tensorrt_rtx,
        },
        "conditions": {"before": before, "after": read_conditions()},
        "rows": rows,
    }


def _row(bundle: Bundle, name: str, *, threads: int, batch: int, seconds: float) -> dict[str, Any]:
    manifest = bundle.manifest
    row: dict[str, Any] = {
        "bundle": f"{manifest.name} {manifest.version}",
        "digest": bundle.digest,
        "profile": manifest.profile,
        "variant": name,
        "precision": manifest.variants[name].precision,
        "input": list(manifest.preprocess.input_shape),
    }
    tensor = np.random.default_rng(0).normal(size=(batch, *manifest.preprocess.input_shape)).astype(np.float32)
    try:
        with open_runner(bundle, variant=name, threads=threads) as runner:
            # A model that computes other values here is not measured: its speed would be that of something else.
            difference = check_golden(bundle, runner, name)
            record = measure(
                lambda: runner.infer(tensor),
                name=name,
                min_seconds=seconds,
                max_seconds=10 * seconds,
                batch=batch,
                threads=threads,
                provider=runner.provider,
            )
    except EdgedxError as error:
        return {**row, "latency": NOT_MEASURED, "why": error.message.replace(str(bundle.path), "the bundle")}
    return {**row, "latency": record.model_dump(exclude={"machine"}), "golden_difference": difference}


def write_device_record(path: Path, record: dict[str, Any]) -> None:
    """Write the file, durably.

    Raises
    ------
    StorageError
        Disk full, or not writable.
    """
    write_json(path, record)
