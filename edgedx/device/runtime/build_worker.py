"""The process that builds one engine and ends (``python -m edgedx.device.runtime.build_worker``; settings on stdin).

It writes ``engine.plan`` into the folder it is given and answers in JSON lines: progress, then a report or an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedx.core.errors import EdgedxError

from .tensorrt_library import Library, load_library

Say = Callable[[dict[str, Any]], None]
_PR_SET_PDEATHSIG = 1
_MEMORY = re.compile(r"out of memory|outofmemory|bad_alloc|cannot allocate|insufficient memory", re.IGNORECASE)
_THROUGH = {"SHUFFLE", "IDENTITY", "CAST"}  # layers between dequantization and what computes
_WEIGHTED = {"CONVOLUTION", "MATRIX_MULTIPLY", "DECONVOLUTION"}


class Refused(Exception):
    """Ends the build; `kind` is parse, build, memory or library."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> None:
    """Build what stdin asks for."""
    settings = json.load(sys.stdin)
    say = _channel()
    _confine(settings["memory_mb"])
    try:
        say(build(settings, say))
    except Refused as error:
        say({"error": "memory" if _MEMORY.search(str(error)) else error.kind, "message": str(error)})
    except EdgedxError as error:
        say({"error": "library", "message": error.message})
    except MemoryError:
        say({"error": "memory", "message": "Python could not allocate"})


def _channel() -> Say:
    """Answers go to the pipe; what libraries print to stdout goes nowhere."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        pipe.write(json.dumps(message) + "\n")

    return say


def _confine(memory_mb: int | None) -> None:
    """First to go when memory is short, last in the queue for the processor, gone when the parent is."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # an old kernel, or a container without /proc: the build works all the same
            Path("/proc/self/oom_score_adj").write_text("1000")
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def build(settings: dict[str, Any], say: Say) -> dict[str, Any]:
    """Parse, build, write; returns the report."""
    library = load_library(settings["flavour"])
    begun = time.monotonic()
    trt, can, log = library.module, library.abilities, _Log(library)
    folder = Path(settings["folder"])
    builder = trt.Builder(log.logger)
    if builder is None:
        raise Refused("library", log.last() or f"{library.name} finds no GPU")
    # The accelerators are driven by the builder's flags, as before TensorRT 10.
    typed = can.strongly_typed and settings["dla"] is None
    flags = 0
    if can.explicit_batch_flag:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if typed:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse((folder / "model.onnx").read_bytes()):
        raise Refused("parse", _parse_errors(parser) or log.last())
    report = {"library": library.name, "layers": network.num_layers, **inspect(network)}
    config = _config(builder, network, library, settings, typed=typed, say=say)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused("build", log.last() or "the builder gave no reason")
    with open(folder / "engine.plan", "wb") as stream:
        stream.write(plan)
    _keep_timing(config, settings["timing_cache"])
    seconds = time.monotonic() - begun
    return {**report, "seconds": seconds, "peak_mb": _peak_mb(), "warnings": log.warnings()}


def _peak_mb() -> float:
    """Peak of this process, MiB. getrusage would give that of the parent, which the kernel hands down at the start."""
    match = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(match[1]) / 1024 if match else 0.0


def _config(builder: Any, network: Any, library: Library, settings: dict[str, Any], *, typed: bool, say: Say) -> Any:
    trt, can = library.module, library.abilities
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings["workspace_bytes"])
    if settings["level"] is not None and can.optimization_level:
        config.builder_optimization_level = settings["level"]
    if not typed and settings["precision"] != "fp32":
        config.set_flag(trt.BuilderFlag.FP16)
        if settings["precision"] == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
    if settings["dla"] is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = settings["dla"]
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if settings["capabilities"]:
        config.num_compute_capabilities = len(settings["capabilities"])
        for index, sm in enumerate(settings["capabilities"]):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm.replace('.', '')}"), index)
    if settings["timing_cache"] and not can.without_gpu:
        path = Path(settings["timing_cache"])
        content = path.read_bytes() if path.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(content), False)
    if can.progress:
        config.progress_monitor = _monitor(trt, say)
    _set_shapes(builder, network, config, 1 if settings["dla"] is not None else settings["max_batch"])
    return config


def _set_shapes(builder: Any, network: Any, config: Any, max_batch: int) -> None:
    """Batch 1 to `max_batch`, tuned for 1: the scanner mostly reads one image at a time. DLA wants one size."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            raise Refused("parse", f"input {tensor.name} has a dynamic size besides the batch: {shape}")
        if shape[0] != -1:
            continue
        if max_batch == 1:
            tensor.shape = (1, *shape[1:])
        profile.set_shape(tensor.name, *((batch, *shape[1:]) for batch in (1, 1, max_batch)))
    config.add_optimization_profile(profile)


def inspect(network: Any) -> dict[str, dict[str, int]]:
    """Types of a network's layers, and what its convolutions and matrix products compute in."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made_by = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}
    types = Counter(_name(layer.get_output(0).dtype) for layer in layers if layer.num_outputs)
    weighted: Counter[str] = Counter()
    for layer in layers:
        if _name(layer.type) not in _WEIGHTED:
            continue
        sources = [_source(layer.get_input(index), made_by) for index in range(min(2, layer.num_inputs))]
        quantized = len(sources) == 2 and all(source == "DEQUANTIZE" for source in sources)
        weighted["INT8" if quantized else _name(layer.get_output(0).dtype)] += 1
    return {"types": dict(types), "weighted": dict(weighted)}


def _source(tensor: Any, made_by: dict[str, Any]) -> str:
    while tensor is not None and (layer := made_by.get(tensor.name)) is not None:
        if _name(layer.type) not in _THROUGH:
            return _name(layer.type)
        tensor = layer.get_input(0)
    return "INPUT"


def _name(value: Any) -> str:
    return str(value).rpartition(".")[2]


def _parse_errors(parser: Any) -> str:
    found = []
    for error in (parser.get_error(index) for index in range(parser.num_errors)):
        # TensorRT 8 does not name the operator.
        operator = error.node_operator() if hasattr(error, "node_operator") else ""
        found.append(f"{operator} {error.desc()}".strip())
    return "; ".join(found)


def _keep_timing(config: Any, path: str | None) -> None:
    if path is None:
        return
    cache = config.get_timing_cache()
    if cache is not None:
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        temporary.write_bytes(cache.serialize())
        os.replace(temporary, path)


class _Log:
    """TensorRT's messages, kept."""

    def __init__(self, library: Library) -> None:
        trt = library.module
        kept: list[tuple[bool, str]] = []
        self._kept = kept

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if _name(severity) in {"WARNING", "ERROR", "INTERNAL_ERROR"} and len(kept) < 5000:
                    kept.append((_name(severity) != "WARNING", message))

        self.logger = Logger()

    def last(self) -> str:
        """The last error."""
        return next((text for is_error, text in reversed(self._kept) if is_error), "")

    def warnings(self) -> list[str]:
        """Warnings, each once."""
        return list(dict.fromkeys(text[:300] for is_error, text in self._kept if not is_error))[:20]


def _monitor(trt: Any, say: Say) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.outer = ""

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.outer = phase_name
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self.outer:
                say({"phase": phase_name, "done": min(1.0, (step + 1) / max(1, self.steps[phase_name]))})
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


if __name__ == "__main__":
    main()
