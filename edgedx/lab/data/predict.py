"""One way to ask any model about a data set."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgedx.core.preprocess import Canvas, PreprocessSpec, normalise
from edgedx.device.runtime.runner import Output, Runner

from .dataset import Dataset


@runtime_checkable
class TakesCanvases(Protocol):
    """A `Runner` that normalises where it runs, as `TorchRunner` does on a GPU."""

    def infer_canvases(
        self, canvases: Canvas, spec: PreprocessSpec, columns: NDArray[np.float32] | None = None
    ) -> Output:
        """As `Runner.infer` of the normalised canvases."""
        ...


def predict(runner: Runner, data: Dataset, spec: PreprocessSpec, *, batch: int = 64) -> NDArray[np.float32]:
    """Logits of shape (N, K), float32, for a data set in order, without augmentation.

    Parameters
    ----------
    runner : Runner
        `TorchRunner`, `OnnxRunner` ...; activated and deactivated here.
    """
    with runner:
        if isinstance(runner, TakesCanvases):
            parts = [runner.infer_canvases(canvases, spec, columns).logits for canvases, columns in data.inputs(batch)]
        else:
            parts = [runner.infer(normalise(one, spec), columns).logits for one, columns in data.inputs(batch)]
    return np.concatenate(parts)
