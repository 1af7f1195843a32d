"""A TensorRT engine on the GPU: TensorRT 8.5 to 11 and TensorRT for RTX, one code.

NOT RUN ON HARDWARE: no NVIDIA GPU was at hand when this was written. The calls are those that NVIDIA's bindings of all
five versions have in common (`tensorrt_library`); what can be proven without a GPU is tested. `edgedx install` proves
an engine with the bundle's golden samples before it serves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import BundleError, ProviderMissing

from .cuda import Stream
from .engine_cache import Choice, EngineCache
from .prepare_engine import Prepared, engines_folder, prepare_engine
from .runner import CAM, COLUMNS, Output, Runner
from .tensorrt_library import Library, load_for


class TensorrtRunner(Runner):
    """Runs a variant of a bundle as a TensorRT engine; batches over the engine's largest are cut.

    Parameters
    ----------
    variant : str
        One whose purpose is tensorrt.
    choice : Choice, optional
        Accelerator and builder level; what `serve_engine` chose for this model before, unless given.
    """

    def __init__(self, bundle: Bundle, variant: str, *, choice: Choice | None = None) -> None:
        self._bundle, self._variant, self._choice = bundle, variant, choice
        self._engine: Any = None
        self._context: Any = None
        self._stream: Stream | None = None
        self._log: Any = None
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._input = ""
        self._max_batch = 1
        self.provider = "TensorRT"

    def activate(self) -> None:
        """Get an engine (cached, shipped or built now), deserialize it, allocate buffers and run a batch of zeros.

        Raises
        ------
        ProviderMissing
            TensorRT or the GPU is missing, or refuses an engine that it has just built.
        BundleError
            The model's inputs and outputs are not those of a classifier.
        MissingError, UnsupportedModel, StorageError
            See `prepare_engine`.
        """
        if self._context is not None:
            return
        library = load_for(self._bundle.manifest.target)
        prepared = prepare_engine(self._bundle, variant=self._variant, choice=self._choice)
        engine = self._deserialize(library, prepared)
        if engine is None and prepared.origin != "built":
            EngineCache(engines_folder(self._bundle.path)).drop(prepared.key)
            prepared = prepare_engine(self._bundle, variant=self._variant, choice=self._choice, rebuild=True)
            engine = self._deserialize(library, prepared)
        if engine is None:
            raise ProviderMissing(
                f"{library.name} refuses the engine that it built",
                next_step="see `edgedx doctor`; run on the CPU with --variant fp32 meanwhile",
            )
        self._engine, self._max_batch = engine, prepared.key.max_batch
        try:
            self._bind(library)
            self.infer(np.zeros((1, *self._shapes[self._input][1:]), np.float32))
        except BaseException:
            self.deactivate()
            raise
        dla = prepared.key.dla
        self.provider = library.name + (f" on DLA {dla}" if dla is not None else "")

    def _deserialize(self, library: Library, prepared: Prepared) -> Any:
        """The engine; None where TensorRT refuses it, which means that it must be built again."""
        trt = library.module
        self._log = trt.Logger(trt.Logger.INTERNAL_ERROR)  # a refusal is expected, and answered by building
        runtime = trt.Runtime(self._log)
        if prepared.key.dla is not None:
            runtime.DLA_core = prepared.key.dla
        try:
            return runtime.deserialize_cuda_engine(prepared.plan)
        except RuntimeError:
            return None

    def _bind(self, library: Library) -> None:
        trt, engine = library.module, self._engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise ProviderMissing(
                "TensorRT has no memory for an execution context",
                next_step="close the desktop, or run on the CPU with --variant fp32",
            )
        self._stream = Stream()
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(name))
            if engine.get_tensor_dtype(name) != trt.float32:
                raise BundleError(f"{self._bundle.path}: tensor {name} of {self._variant} is not float32")
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT and name != COLUMNS:
                self._input = name
            self._shapes[name] = shape
            size = 4 * self._max_batch * int(np.prod(shape[1:]))
            self._addresses[name] = self._stream.allocate(size)
            self._context.set_tensor_address(name, self._addresses[name])
        if not self._input or "logits" not in self._shapes:
            raise BundleError(f"{self._bundle.path}: {self._variant} has no input, or no output called logits")

    def infer(
        self, batch: NDArray[np.float32], columns: NDArray[np.float32] | None = None, *, cam: bool = False
    ) -> Output:
        """Run a batch of shape (N, C, H, W), float32 (see `Runner.infer`).

        An engine computes all its outputs; what is not asked for is not copied from the GPU.
        """
        if self._context is None:
            self.activate()
        given = {self._input: np.ascontiguousarray(batch, np.float32)}
        if COLUMNS in self._shapes:
            absent = np.zeros((len(batch), *self._shapes[COLUMNS][1:]), np.float32)
            given[COLUMNS] = absent if columns is None else np.ascontiguousarray(columns, np.float32)
        cuts = range(0, len(batch), self._max_batch)
        parts = [
            self._run({name: array[start : start + self._max_batch] for name, array in given.items()}, cam)
            for start in cuts
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Output(joined["logits"], joined.get("features"), joined.get(CAM))

    def _run(self, given: dict[str, NDArray[np.float32]], cam: bool) -> dict[str, NDArray[np.float32]]:
        assert self._stream is not None
        for name, array in given.items():
            self._context.set_input_shape(name, array.shape)
            self._stream.upload(self._addresses[name], array)
        if not self._context.execute_async_v3(self._stream.handle):
            raise ProviderMissing("TensorRT could not run the engine", next_step="see `edgedx doctor`, then restart")
        outputs = {
            name: np.empty((len(given[self._input]), *shape[1:]), np.float32)
            for name, shape in self._shapes.items()
            if name not in given and (cam or name != CAM)
        }
        for name, array in outputs.items():
            self._stream.download(array, self._addresses[name])
        self._stream.wait()
        return outputs

    def deactivate(self) -> None:
        """Free context, engine and buffers, in this order."""
        self._context = None
        self._engine = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._addresses, self._shapes = {}, {}
