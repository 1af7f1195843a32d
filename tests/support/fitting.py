"""One variant of a tiny network, with what deployment fits on its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import quantizing

from edgedx.core.preprocess import normalise
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.quantize.cam import add_cam
from edgedx.lab.run.device_build import CompiledVariant
from edgedx.lab.ship.doubt import Fitted, fit_doubt

ENTRY = {"fused": True, "purpose": "cpu", "scheme": "float", "precision": "fp32"}


def split(train: int, val: int) -> Dataset:
    """The first images are train, the others val."""
    data = quantizing.images(train + val)
    return replace(data, splits=["train"] * train + ["val"] * val)


def fitted(folder: Path, data: Dataset, *, test: int = 0, shifted: bool = False, **entry: Any) -> tuple[Fitted, bytes]:
    """Fit one variant; `test` images of val are asked for as a test, with the answers turned round where `shifted`."""
    batch = np.concatenate([normalise(part, quantizing.SPEC) for part in data.subset("val").batches(64)])
    model = add_cam(quantizing.residual(), batch[:8])
    with OnnxRunner(model) as runner:
        logits = runner.infer(batch).logits
    (folder / "fp32").mkdir()
    more = {}
    if test:
        drawn = np.random.default_rng(0).integers(0, len(logits), test) + data.splits.index("val")
        rows = np.concatenate([np.arange(len(data)), drawn])
        data = replace(data.take(rows), splits=[*data.splits, *["test"] * test])
        more["test"] = logits[drawn - data.splits.index("val")][:, :: -1 if shifted else 1]
    np.savez(folder / "fp32" / "logits.npz", val=logits, **more)
    models = {"fp32": model if not entry else quantizing.residual()}
    variants = {"fp32": CompiledVariant("fp32", folder / "fp32.onnx", {**ENTRY, **entry})}
    return fit_doubt(quantizing.recipe(), data, models, variants, 1.5), model
