"""One lifecycle for every runtime: activate, infer, deactivate."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..core.bundle import Bundle
from ..core.errors import ProviderMissing

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

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_runner(bundle: Bundle, *, variant: str | None = None, threads: int = 0, dla: int | None = None) -> Runner:
    """Choose the runner for a bundle's variant; it is not yet active.

    Parameters
    ----------
    variant : str, optional
        A name in the manifest; its default variant unless given.
    threads : int
        CPU threads; 0 lets the runtime choose.

    Raises
    ------
    ProviderMissing
        The variant is for a runtime or GPU that this machine has not. Falling back is the caller's explicit choice.
    BundleError
        No such variant.
    """
    name = variant or bundle.manifest.default_variant
    model = bundle.model(name)
    if bundle.manifest.variants[name].purpose == "tensorrt":
        return _tensorrt(bundle, name)
    from .run_onnx import OnnxRunner

    return OnnxRunner(model, threads=threads)


def _tensorrt(bundle: Bundle, name: str) -> Runner:
    from .cuda import find_gpu
    from .tensorrt_library import load_for

    try:
        find_gpu()
        load_for(bundle.manifest.target)
    except ProviderMissing as error:
        cpu = [key for key, value in bundle.manifest.variants.items() if value.purpose == "cpu"]
        instead = f"or name a CPU variant: --variant {cpu[0]}" if cpu else "or deploy again with --target cpu"
        raise ProviderMissing(
            f"variant {name!r} needs TensorRT and an NVIDIA GPU: {error.message}",
            next_step=f"{error.next_step}; {instead}" if error.next_step else instead,
        ) from error
    from .run_trt import TensorrtRunner

    return TensorrtRunner(bundle, name)
