"""Facts about the Python packages of this machine: what edgedx needs, what it can use, what decodes DICOM."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from edgedx._version import __version__

UNKNOWN_VERSION = "unknown version"
"""Version of a package that pip did not install, such as JetPack's TensorRT or a distribution's OpenCV."""

BASE = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pydicom": "pydicom",
    "pydantic": "pydantic",
    "PyYAML": "yaml",
    "cryptography": "cryptography",
    "typer": "typer",
    "rich": "rich",
}
"""Distribution to module, of the base install; the decoders and ONNX Runtime are asked separately."""

DECODERS = {
    "uncompressed": ("numpy", "numpy"),
    "JPEG, 8 bit": ("simplejpeg", "simplejpeg"),
    "JPEG Lossless, JPEG 12 bit, JPEG-LS, JPEG 2000, HTJ2K, RLE": ("imagecodecs", "imagecodecs._jpeg8"),
}
"""Family of transfer syntaxes to (distribution, module) of its decoder: one each, pinned in `dicom.reading.pixels`."""


@dataclass(frozen=True)
class OptionalPackage:
    """An optional part of edgedx: what it is for, and (distribution, module) of what it needs."""

    feature: str
    packages: tuple[tuple[str, str], ...]


EXTRAS = {
    "lab": OptionalPackage(
        "training, distillation, pruning, quantization and reports (the workstation half)",
        (
            ("torch", "torch"),
            ("torchvision", "torchvision"),
            ("timm", "timm"),
            ("torch-pruning", "torch_pruning"),
            ("accelerate", "accelerate"),
            ("onnx", "onnx"),
            ("onnxscript", "onnxscript"),
            ("scikit-learn", "sklearn"),
            ("scipy", "scipy"),
            ("optuna", "optuna"),
            ("sqlalchemy", "sqlalchemy"),
            ("captum", "captum"),
            ("grad-cam", "pytorch_grad_cam"),
            ("scikit-image", "skimage"),
            ("matplotlib", "matplotlib"),
            ("safetensors", "safetensors"),
            ("packaging", "packaging"),
            ("Jinja2", "jinja2"),
        ),
    ),
    "sr": OptionalPackage("results as DICOM Structured Reports and Secondary Captures", (("highdicom", "highdicom"),)),
    "page": OptionalPackage(
        "the page of a clinic's box in a browser",
        (
            ("starlette", "starlette"),
            ("uvicorn", "uvicorn"),
            ("Jinja2", "jinja2"),
            ("python-multipart", "python_multipart"),
            ("segno", "segno"),
        ),
    ),
    "net": OptionalPackage("receiving images over the network (C-STORE)", (("pynetdicom", "pynetdicom"),)),
    "fleet": OptionalPackage("updates of many devices from one repository", (("tuf", "tuf"),)),
}


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime as it is installed, with the execution providers it was built with."""

    version: str
    providers: tuple[str, ...]


@dataclass(frozen=True)
class Software:
    """What is installed. A package maps to its version, to `UNKNOWN_VERSION`, or to None where it is missing."""

    python: str
    edgedx: str
    base: dict[str, str | None]
    onnxruntime: OnnxRuntime | None
    tensorrt: str | None
    tensorrt_rtx: str | None
    decoders: dict[str, str | None]
    extras: dict[str, dict[str, str | None]]


def read_software() -> Software:
    """Read what is installed. Decoders and ONNX Runtime are imported, to know that they load; nothing else is."""
    return Software(
        python=platform.python_version(),
        edgedx=__version__,
        base={name: _installed(name, module) for name, module in BASE.items()},
        onnxruntime=_onnxruntime(),
        tensorrt=_installed("tensorrt", "tensorrt"),
        tensorrt_rtx=_installed("tensorrt_rtx_cu13_bindings", "tensorrt_rtx_bindings"),
        decoders={family: _decoder(name, module) for family, (name, module) in DECODERS.items()},
        extras={
            key: {name: _installed(name, module) for name, module in extra.packages} for key, extra in EXTRAS.items()
        },
    )


def _installed(distribution: str, module: str) -> str | None:
    if find_spec(module) is None:
        return None
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN_VERSION


def _decoder(distribution: str, module: str) -> str | None:
    found = _installed(distribution, module)
    if found is None or _load(module) is None:
        return None
    return f"{distribution} {found}"


def _load(module: str) -> Any:
    """A module with native code, or None where it does not load: a wheel for another libc or CPU is found and fails."""
    try:
        return importlib.import_module(module)
    except Exception:  # native packages raise whatever their loader raises
        return None


def _onnxruntime() -> OnnxRuntime | None:
    module = _load("onnxruntime")
    return OnnxRuntime(module.__version__, tuple(module.get_available_providers())) if module else None
