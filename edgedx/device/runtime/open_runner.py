"""The runner of a bundle's variant: ONNX Runtime or TensorRT, as the variant and this machine ask."""

from __future__ import annotations

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import ProviderMissing

from .runner import Runner


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
