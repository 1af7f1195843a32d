"""TensorRT as it is installed: JetPack's or pip's ``tensorrt`` (8.5 to 11), or TensorRT for RTX; and what each can do.

The differences that matter here were read from NVIDIA's own bindings of 8.6.1, 10.3.0, 10.16.1, 11.4.0 and RTX 1.7.1:
8.x has no strong typing; 11 has neither the FP16 and INT8 flags nor the explicit-batch flag; only RTX builds without a
GPU and is told the GPUs to build for. ``execute_async_v3`` and named tensors are in all of them.
"""

from __future__ import annotations

import ctypes
import glob
import importlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

from edgedx.core.errors import ProviderMissing

from .cuda import package_folder

Flavour = Literal["tensorrt", "tensorrt_rtx"]

MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt_rtx_bindings"}
OLDEST = (8, 5)
_RTX_LIBRARIES = ("onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_libs")  # packages that bring the C++ libraries
# In this order: each needs the symbols of those before it.
_RTX_PRELOAD = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")
_HOW: dict[Flavour, str] = {
    "tensorrt": "on a Jetson: sudo apt install python3-libnvinfer, and an environment made with --system-site-packages",
    "tensorrt_rtx": 'pip install "edgedx[rtx]"',
}


@dataclass(frozen=True)
class Library:
    """A TensorRT that is loaded.

    Attributes
    ----------
    module : module
        Its Python bindings.
    version : str
        As the bindings say it, for example ``10.3.0``.
    """

    module: Any
    flavour: Flavour
    version: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers, as far as they go."""
        return version_numbers(self.version)

    @property
    def name(self) -> str:
        """For people: ``TensorRT 10.3.0`` or ``TensorRT-RTX 1.7.1``."""
        return f"TensorRT{'-RTX' if self.flavour == 'tensorrt_rtx' else ''} {self.version}"

    @property
    def abilities(self) -> Abilities:
        """What this version can do."""
        return abilities(self.flavour, self.numbers)


@dataclass(frozen=True)
class Abilities:
    """What a version of TensorRT can do.

    Attributes
    ----------
    strongly_typed : bool
        Types come from the graph alone.
    precision_flags : bool
        Types may be chosen by the builder, with the FP16 and INT8 flags.
    explicit_batch_flag : bool
        The network must be created with a flag that newer versions no longer have.
    optimization_level : bool
        ``builder_optimization_level`` exists (8.6).
    progress : bool
        ``IProgressMonitor`` exists (10).
    without_gpu : bool
        Builds for GPUs that are not there.
    dla : bool
        It drives the deep learning accelerators of Xavier and Orin: 10.7 was the last (NVIDIA's "Working with DLA").
    """

    strongly_typed: bool
    precision_flags: bool
    explicit_batch_flag: bool
    optimization_level: bool
    progress: bool
    without_gpu: bool
    dla: bool


def abilities(flavour: Flavour, version: tuple[int, ...]) -> Abilities:
    """What a version can do: a pure decision."""
    if flavour == "tensorrt_rtx":
        return Abilities(True, False, False, True, True, True, False)
    return Abilities(
        strongly_typed=version >= (10,),
        precision_flags=version < (11,),
        explicit_batch_flag=version < (10,),
        optimization_level=version >= (8, 6),
        progress=version >= (10,),
        without_gpu=False,
        dla=version < (10, 8),
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """``10.13.3.9.post1`` as (10, 13, 3, 9)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def flavours_for(target: str) -> tuple[Flavour, ...]:
    """The flavours that can serve a target, the preferred one first."""
    return ("tensorrt_rtx", "tensorrt") if target == "rtx" else ("tensorrt",)


def installed(flavour: Flavour) -> bool:
    """Whether the bindings are there; nothing is loaded."""
    return find_spec(MODULES[flavour]) is not None


@lru_cache(maxsize=2)
def load_library(flavour: Flavour) -> Library:
    """Load a flavour's bindings and the libraries below them.

    Raises
    ------
    ProviderMissing
        Not installed, does not load, or is older than 8.5.
    """
    name = MODULES[flavour]
    try:
        if flavour == "tensorrt_rtx":
            _preload_rtx()
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        why = "is not installed" if missing else f"does not load: {error}"
        raise ProviderMissing(f"Python's module {name} {why}", next_step=_HOW[flavour]) from error
    library = Library(module, flavour, str(module.__version__))
    if flavour == "tensorrt" and library.numbers < OLDEST:
        raise ProviderMissing(
            f"{library.name} is older than 8.5, which JetPack 5.1 brings", next_step="flash JetPack 6.1 or newer"
        )
    return library


def load_for(target: str) -> Library:
    """The library that serves a target.

    Raises
    ------
    ProviderMissing
        None is installed, or the one that is does not load.
    """
    wanted = flavours_for(target)
    return load_library(next((flavour for flavour in wanted if installed(flavour)), wanted[0]))


def _preload_rtx() -> None:
    """The bindings ask the loader for libraries that lie in a package's folder, where it does not look."""
    folder = next((place for name in _RTX_LIBRARIES if (place := package_folder(name)) is not None), None)
    if folder is None:
        return  # they may be installed system-wide; if not, importing the bindings says so
    for pattern in _RTX_PRELOAD:
        for path in sorted(glob.glob(str(folder / pattern)))[:1]:
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
