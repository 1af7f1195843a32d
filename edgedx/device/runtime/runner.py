"""One lifecycle for every runtime: activate, infer, deactivate."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

CAM = "cam"
"""Name of the output with class activation maps (`lab.cam`)."""
COLUMNS = "columns"
"""Name of the second input, of models that are told more than the image (`core.columns`)."""


@dataclass(frozen=True)
class Output:
    """What a model returns.

    Attributes
    ----------
    logits : ndarray of shape (N, classes), float32
    features : ndarray of shape (N, features), float32, optional
        Pooled features, where the model exports them.
    cam : ndarray of shape (N, classes, h, w), float32, optional
        Class activation maps, where they were asked for and the model exports them.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None = None
    cam: NDArray[np.float32] | None = None


class Runner(Protocol):
    """Runs one model of a bundle."""

    provider: str
    """Execution provider that really runs; valid after `activate`."""

    def activate(self) -> None:
        """Load and warm the model."""

    def infer(
        self, batch: NDArray[np.float32], columns: NDArray[np.float32] | None = None, *, cam: bool = False
    ) -> Output:
        """Run a batch of shape (N, C, H, W), float32; with class activation maps on request.

        Parameters
        ----------
        columns : ndarray of shape (N, T), float32, optional
            What is known beside each image (`core.columns.encode_rows`); all absent unless given. A model that takes no
            columns never learned from any, and is asked without.
        """
        ...

    def deactivate(self) -> None:
        """Free what `activate` took."""

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.deactivate()
