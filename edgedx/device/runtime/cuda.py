"""CUDA through its own C libraries: which GPU is here, buffers and copies. No torch, no pycuda, no compiler.

JetPack, the driver and the wheels of TensorRT all bring ``libcudart``; its handful of functions has had the same
signatures since CUDA 10, so that ctypes is enough, on every Python and every CUDA.
"""

from __future__ import annotations

import ctypes
import glob
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgedx.core.errors import ProviderMissing

_PACKAGES = ("onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_libs", "nvidia.cuda_runtime.lib", "nvidia.cu13.lib")
_FOLDERS = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/aarch64-linux/lib", "/usr/lib/aarch64-linux-gnu")
_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyKind
_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: compute capability


@dataclass(frozen=True)
class CudaDevice:
    """The GPU that CUDA would use: name, compute capability as major.minor, memory in bytes (shared on a Jetson)."""

    name: str
    sm: str
    memory_bytes: int


def find_gpu() -> CudaDevice:
    """The first GPU.

    Raises
    ------
    ProviderMissing
        No driver, or no GPU. Says which.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ProviderMissing(
            "no NVIDIA driver: libcuda.so.1 does not load",
            next_step="run `edgedx doctor`; in a container, start it with the NVIDIA runtime (--gpus all)",
        ) from error
    device, count = ctypes.c_int(), ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        raise ProviderMissing(
            f"the NVIDIA driver finds no GPU (CUDA error {code})", next_step="run `nvidia-smi`, then `edgedx doctor`"
        )
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    major, minor = ctypes.c_int(), ctypes.c_int()
    code = (
        driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, len(name), device)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if code:
        raise ProviderMissing(f"the GPU does not answer (CUDA error {code})", next_step="restart the machine")
    return CudaDevice(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", memory.value)


@lru_cache(maxsize=1)
def runtime() -> Any:
    """libcudart, loaded.

    Raises
    ------
    ProviderMissing
        It is nowhere.
    """
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        library.cudaGetErrorString.restype = ctypes.c_char_p
        return library
    raise ProviderMissing(
        "the CUDA runtime library (libcudart) is not installed",
        next_step="on a Jetson: sudo apt install nvidia-jetpack; on a PC it comes with onnxruntime-ep-nv-tensorrt-rtx",
    )


def _candidates() -> list[str]:
    """Paths of libcudart, the newest of a folder first; a name alone at the end asks the system's loader."""
    packages = [str(place) for name in _PACKAGES if (place := package_folder(name)) is not None]
    found: list[str] = []
    for folder in (*packages, *_FOLDERS):
        found += sorted(glob.glob(os.path.join(folder, "libcudart.so.*")), reverse=True)
    return [*found, "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"]


def package_folder(package: str) -> Path | None:
    """Folder of an installed package, which is not imported; None where it is not installed."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return Path(places[0]) if places else None


class Stream:
    """A CUDA stream with its buffers; `close` frees all. Sizes are bytes.

    Raises
    ------
    ProviderMissing
        CUDA refuses, with its own words; memory that is short is named.
    """

    def __init__(self) -> None:
        self._library = runtime()
        self._buffers: list[ctypes.c_void_p] = []
        self._stream = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(self._stream))

    @property
    def handle(self) -> int:
        """What TensorRT calls the stream."""
        return self._stream.value or 0

    def allocate(self, size: int) -> int:
        """Address of a new buffer on the GPU, freed by `close`."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._buffers.append(pointer)
        return pointer.value or 0

    def upload(self, address: int, source: Any) -> None:
        """Queue a copy of a contiguous array to the GPU; `source` must live until `wait`."""
        self._copy(address, source.ctypes.data, source.nbytes, _TO_DEVICE)

    def download(self, target: Any, address: int) -> None:
        """Queue a copy into a contiguous array; it is filled after `wait`."""
        self._copy(target.ctypes.data, address, target.nbytes, _TO_HOST)

    def wait(self) -> None:
        """Wait for all that was queued."""
        self._call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free buffers and stream; further calls do nothing."""
        while self._buffers:
            self._library.cudaFree(self._buffers.pop())
        if self._stream.value:
            self._library.cudaStreamDestroy(self._stream)
            self._stream = ctypes.c_void_p()

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            ctypes.c_int(kind),
            self._stream,
        )

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = self._library.cudaGetErrorString(ctypes.c_int(code)).decode(errors="replace")
            raise ProviderMissing(
                f"CUDA refuses {name}: {text} (error {code})",
                next_step="free memory (close the desktop), or run a CPU variant with --variant fp32"
                if code == _OUT_OF_MEMORY
                else "run `edgedx doctor`; is the driver as new as the CUDA libraries?",
            )
