"""One way to ask any model about a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.device.runtime.runner import Runner

from .dataset import Dataset


def predict(runner: Runner, data: Dataset, spec: PreprocessSpec, *, batch: int = 64) -> NDArray[np.float32]:
    """Logits of shape (N, K), float32, for a data set in order, without augmentation.

    Parameters
    ----------
    runner : Runner
        `TorchRunner`, `OnnxRunner` ...; activated and deactivated here.
    """
    with runner:
        parts = [runner.infer(normalise(canvases, spec), columns).logits for canvases, columns in data.inputs(batch)]
    return np.concatenate(parts)
