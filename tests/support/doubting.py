"""A bundle that knows bright and dark pictures, and nothing in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bundles import GOLDEN, MODEL, SPEC, golden, manifest, model, picture

from edgedx.core.bundle.doubt import Doubt
from edgedx.core.bundle.manifest import Bundle, open_bundle, write_bundle
from edgedx.core.preprocess import normalise
from edgedx.core.stats.conformal import SetThresholds
from edgedx.core.stats.ood import OodLimits, fit_space, limit_for, pack_space
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.quantize.cam import add_cam


def training() -> tuple[np.ndarray, np.ndarray]:
    """Bright and dark pictures, as in the inbox: network inputs and labels."""
    labels = np.arange(300) % 2
    pictures = np.stack([picture(1000 + n, size=16, bright=bool(n % 2)) for n in range(300)])
    return normalise(pictures, SPEC), labels


def doubting(path: Path, *, part: bytes | None = None, network: bytes | None = None, **changes: Any) -> Bundle:
    """A bundle whose limits were fitted on dark and bright pictures; nothing in between was ever seen."""
    images, labels = training()
    network = network or add_cam(model(), images[:8])
    with OnnxRunner(network) as runner:
        features = runner.infer(images).features
    space = fit_space(features[:200], labels[:200])  # type: ignore[index]
    limit = limit_for(space.distance(features[200:]))  # type: ignore[index]
    limits = OodLimits(file="ood.npz", pass_rate=0.99, images=100, energy=9.0, distance=limit)
    sets = SetThresholds(alpha=0.1, least={"dark": 0.4, "bright": 0.4}, cases={"dark": 50, "bright": 50})
    doubt = Doubt(ood={"fp32": limits}, sets={"fp32": sets}, cam={"fp32": (16, 16)})
    fields = {"doubt": doubt, **changes}
    parts = {MODEL: network, GOLDEN: golden(network), "ood.npz": part or pack_space(space)}
    write_bundle(path, manifest(**fields), parts)
    return open_bundle(path)
