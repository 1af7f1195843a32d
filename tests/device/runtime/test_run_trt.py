"""Running engines, as far as that goes without a GPU: who is asked, what is refused, that nothing falls back by itself.

Execution itself (`TensorrtRunner.infer`) needs an NVIDIA GPU and was not run on one.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from networks import KEY, convolution, needs_rtx, tensorrt_bundle, without_gpu

from edgedx.core.errors import ProviderMissing
from edgedx.device.runtime import cuda
from edgedx.device.runtime.build_trt import build_engine
from edgedx.device.runtime.engine_settings import BuildSettings
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.prepare_engine import Prepared, prepare_engine
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.run_trt import TensorrtRunner
from edgedx.device.runtime.tensorrt_library import load_library


@without_gpu
def test_a_tensorrt_variant_never_runs_on_the_cpu_in_silence(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    with pytest.raises(ProviderMissing, match="needs TensorRT and an NVIDIA GPU") as caught:
        open_runner(bundle)
    assert "--variant fp32" in str(caught.value.next_step)
    with open_runner(bundle, variant="fp32") as runner:
        assert isinstance(runner, OnnxRunner)


@without_gpu
def test_without_a_cpu_variant_the_next_step_is_another_bundle(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    variants = {"int8-trt": bundle.manifest.variants["int8-trt"]}
    bundle.manifest = bundle.manifest.model_copy(update={"variants": variants})
    with pytest.raises(ProviderMissing) as caught:
        open_runner(bundle)
    assert "--target cpu" in str(caught.value.next_step)


@needs_rtx
@without_gpu
def test_preparing_and_activating_without_a_gpu_say_what_is_missing(tmp_path: Path) -> None:
    bundle = tensorrt_bundle(tmp_path / "t.edgedx")
    for attempt in (lambda: prepare_engine(bundle), TensorrtRunner(bundle, "int8-trt").activate):
        with pytest.raises(ProviderMissing, match="driver") as caught:
            attempt()
        assert caught.value.next_step


@needs_rtx
@without_gpu
def test_the_real_cuda_library_refuses_with_its_own_words() -> None:
    with pytest.raises(ProviderMissing, match="CUDA refuses cudaStreamCreate: .*driver"):
        cuda.Stream()


@needs_rtx
def test_an_engine_that_tensorrt_refuses_is_no_crash(tmp_path: Path) -> None:
    library = load_library("tensorrt_rtx")
    runner = TensorrtRunner(tensorrt_bundle(tmp_path / "t.edgedx"), "int8-trt")
    whole = build_engine(convolution(), BuildSettings("tensorrt_rtx", "fp32", capabilities=("8.6",))).plan
    plans = [b"junk", whole[:100], whole[:-1], bytes(len(whole))]
    for plan in plans:
        assert runner._deserialize(library, Prepared(plan, KEY, "cache", "")) is None


def test_a_version_that_raises_instead_of_returning_null_is_a_rebuild_too(tmp_path: Path) -> None:
    class Runtime:
        def __init__(self, log: object) -> None:
            pass

        def deserialize_cuda_engine(self, plan: bytes) -> object:
            raise RuntimeError("Version tag does not match")

    def logger(severity: object) -> object:
        return object()

    logger.INTERNAL_ERROR = 0  # type: ignore[attr-defined]
    library = SimpleNamespace(module=SimpleNamespace(Runtime=Runtime, Logger=logger))
    runner = TensorrtRunner(tensorrt_bundle(tmp_path / "t.edgedx"), "int8-trt")
    assert runner._deserialize(library, Prepared(b"", KEY, "cache", "")) is None  # type: ignore[arg-type]
