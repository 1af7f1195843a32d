"""Results as a scanner gives them, and the validator of DICOM objects that others wrote (dicom3tools)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgedx.core.result import Prediction, PredictionSet, Reason, Result, Runtime, SourceFile, Unlikeness, result_key

needs_validator = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian package dicom3tools is absent")

BUNDLE = "c" * 64


def answered(content: str = "b" * 64, **changes: Any) -> Result:
    """A result with a prediction of pneumonia."""
    fields: dict[str, Any] = {
        "key": result_key(content, BUNDLE),
        "status": "done",
        "source": SourceFile(name="a.dcm", sha256=content, bytes=1, format="dicom"),
        "prediction": Prediction(
            label="pneumonia",
            probabilities={"normal": 0.13, "pneumonia": 0.87},
            operating_point="youden",
            threshold={"pneumonia": 0.62},
        ),
        "prediction_set": PredictionSet(classes=["pneumonia", "normal"], coverage=0.9, meaning="In 9 of 10 cases."),
        "unlikeness": Unlikeness(out_of_distribution=True, energy=1.0, energy_limit=2.0, pass_rate=0.99),
        "runtime": Runtime(
            bundle=BUNDLE, model="chest 1.2", variant="int8-u8s8", provider="CPUExecutionProvider", edgedx="0.1.0"
        ),
        "sequence": 3,
        "created": "2026-11-23T07:40:00Z",
        "clock_trusted": True,
    }
    return Result(**{**fields, **changes})


def refused() -> Result:
    """A result without one."""
    reason = Reason(code="MODALITY", message="the model was not made for this modality")
    return answered(status="refused", prediction=None, prediction_set=None, unlikeness=None, reason=reason)


def errors(data: bytes, folder: Path) -> list[str]:
    """What ``dciodvfy`` finds wrong with an object."""
    path = folder / "object.dcm"
    path.write_bytes(data)
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace", timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.lstrip().startswith("Error")]
