"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import BundleError, ProviderMissing

from .runner import CAM, COLUMNS, Output, Runner

CPU = "CPUExecutionProvider"


class OnnxRunner(Runner):
    """Runs an ONNX model through ONNX Runtime.

    Parameters
    ----------
    model : bytes or path
        A self-contained model whose first input is (N, C, H, W) float32, first output logits and
        second output, if any, pooled features; an output called ``cam`` holds class activation maps, and an input
        called ``columns`` (N, T) takes what is known beside the image.
    threads : int
        Threads inside one operator; 0: as OMP_NUM_THREADS says, which ONNX Runtime itself does not read, else as it
        chooses.
    fused : bool
        True: all graph optimizations, the kernels that serve. False: none, so that Q/DQ pairs are computed in
        float as written, which is how a TensorRT target is judged (trap 1 of docs/compression.md).
    provider : str
        Execution provider, which must really run: another one in its place is an error.
    """

    def __init__(self, model: bytes | Path | str, *, threads: int = 0, fused: bool = True, provider: str = CPU) -> None:
        self._model = model if isinstance(model, bytes) else str(model)
        self._threads = threads
        self._fused = fused
        self._session: Any = None
        self._input = ""
        self._outputs: list[str] = []
        self._columns = 0  # length of a row of the second input; 0 where there is none
        self.provider = provider

    def activate(self) -> None:
        """Create the session and run one batch of zeros.

        Raises
        ------
        ProviderMissing
            ONNX Runtime has not the provider asked for, or chose another.
        BundleError
            The model does not load.
        """
        if self._session is not None:
            return
        import onnxruntime as ort

        if self.provider not in ort.get_available_providers():
            raise ProviderMissing(
                f"ONNX Runtime {ort.__version__} has no {self.provider}; it has {ort.get_available_providers()}",
                next_step="run `edgedx doctor` to see what this machine offers",
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads or _told()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Arenas keep the peak for ever; a scanner that runs for a year would rather give it back.
        options.enable_cpu_mem_arena = False
        # Its threads would go on asking for work long after each batch, on the cores that decode the next one.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if self._fused else level.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(self._model, options, providers=[self.provider])
        except Exception as error:  # ONNX Runtime raises its own unrelated classes, one per failure
            raise BundleError(
                f"the ONNX model does not load: {error}",
                next_step="deploy it again; `edgedx doctor` names the version of ONNX Runtime here",
            ) from error
        if session.get_providers()[0] != self.provider:
            raise ProviderMissing(f"ONNX Runtime runs {session.get_providers()[0]} instead of {self.provider}")
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]
        more = [taken for taken in session.get_inputs()[1:] if taken.name == COLUMNS]
        self._columns = int(more[0].shape[1]) if more else 0
        shape = [side if isinstance(side, int) else 1 for side in session.get_inputs()[0].shape]
        self.infer(np.zeros(shape, np.float32))

    def infer(
        self, batch: NDArray[np.float32], columns: NDArray[np.float32] | None = None, *, cam: bool = False
    ) -> Output:
        """Run a batch of shape (N, C, H, W), float32 (see `Runner.infer`).

        ONNX Runtime computes class activation maps in any case, in less than a hundredth of the time; only the copy is
        spared.

        Raises
        ------
        BundleError
            The columns are not those of the model.
        """
        if self._session is None:
            self.activate()
        asked = [name for name in self._outputs if cam or name != CAM]
        given = {self._input: batch}
        if self._columns:
            given[COLUMNS] = np.zeros((len(batch), self._columns), np.float32) if columns is None else columns
            if given[COLUMNS].shape != (len(batch), self._columns):
                raise BundleError(
                    f"the model takes {self._columns} numbers beside each image, not {given[COLUMNS].shape[1:]}",
                    next_step="its columns are not those that it was trained with: deploy it again",
                )
        outputs = dict(zip(asked, self._session.run(asked, given), strict=True))
        maps = outputs.pop(CAM, None)
        logits, *rest = outputs.values()
        return Output(logits, rest[0] if rest else None, maps)

    def deactivate(self) -> None:
        """Free the session."""
        self._session = None


def _told() -> int:
    """Threads that the environment allows; 0: it says nothing. Several jobs on one machine would wait on each other."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else 0
