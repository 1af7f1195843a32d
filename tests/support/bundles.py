"""A tiny real bundle, and files such as a clinic's inbox holds. Shared by the tests of the device half."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgedx.core.bundle.manifest import Bundle, Golden, Manifest, Variant, open_bundle, write_bundle
from edgedx.core.bundle.signing import SigningKey, load_signing_key, new_key
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, preprocess
from edgedx.core.settings.accept import Accept
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.decode.decoder import DecodedCanvas, Decoder
from edgedx.device.runtime.predict import Predictor
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.dicom.writing.make import Kind, PatientFacts, write_dicom

SPEC = PreprocessSpec(size=(16, 16), window="none", bits=8)
MODEL, GOLDEN = "models/fp32.onnx", "golden.npz"


def model(weight: float = 1.0) -> bytes:
    """A network of one weight: the mean brightness decides between dark and bright."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([[-weight, weight]], np.float32), "weight"),
        numpy_helper.from_array(np.array([0.1, -0.1], np.float32), "bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 16, 16])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1]),
        ],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def saturating_model() -> bytes:
    """An 8-bit network whose sums do not fit 16 bits: x86 without VNNI computes it wrongly, and says nothing."""
    batch = np.stack([preprocess(Image.of_array(image), SPEC) for image in _golden_images()])
    low, high = float(batch.min()), float(batch.max())
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "x scale", "x zero"], ["x8"]),
        make("DequantizeLinear", ["x8", "x scale", "x zero"], ["x"]),
        make("DequantizeLinear", ["weights", "w scale", "w zero"], ["w"], axis=0),
        make("Conv", ["x", "w"], ["convolved"]),
        make("QuantizeLinear", ["convolved", "y scale", "y zero"], ["y8"]),
        make("DequantizeLinear", ["y8", "y scale", "y zero"], ["y"]),
        make("GlobalAveragePool", ["y"], ["pooled"]),
        make("Flatten", ["pooled"], ["features"]),
        make("Gemm", ["features", "head"], ["logits"]),
    ]
    constants = {
        "x scale": np.float32((high - low) / 255),
        "x zero": np.uint8(round(-low / (high - low) * 255)),
        "weights": np.full((8, 1, 4, 4), 127, np.int8),
        "w scale": np.full(8, 1 / 127, np.float32),
        "w zero": np.zeros(8, np.int8),
        "y scale": np.float32(16 * max(-low, high) / 255),
        "y zero": np.uint8(128),
        "head": np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32),
    }
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    shapes = [("image", ["n", 1, 16, 16]), ("logits", ["n", 2]), ("features", ["n", 8])]
    image, *outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    graph = helper.make_graph(nodes, "saturating", [image], outputs, values)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def _golden_images() -> list[NDArray[np.uint8]]:
    return [picture(seed, size=16) for seed in (100, 101)]


def golden(network: bytes, shift: float = 0.0, *, fused: bool = True, spec: PreprocessSpec = SPEC) -> bytes:
    """Two samples with the logits that `network` really gives, moved by `shift`; not fused: as if in float.

    Where `spec` crops, they have black borders.
    """
    images = [np.pad(image, 12) if spec.crop == "content" else image for image in _golden_images()]
    with OnnxRunner(network, threads=1, fused=fused) as runner:
        logits = runner.infer(np.stack([preprocess(Image.of_array(image), spec) for image in images])).logits
    stream = io.BytesIO()
    np.savez(stream, image_0=images[0], image_1=images[1], logits_fp32=logits + np.float32(shift))
    return stream.getvalue()


def manifest(**changes: Any) -> Manifest:
    """The manifest of the tiny bundle, with some fields changed."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "created": "2026-01-01T00:00:00Z",
        "edgedx": "0.1.0",
        "profile": "laptop",
        "target": "cpu",
        "task": "binary",
        "classes": ["dark", "bright"],
        "positive": "bright",
        "backbone": "none",
        "preprocess": SPEC,
        "accept": Accept(modality=["CR", "DX"]),
        "temperature": 1.0,
        "operating_points": [OperatingPoint(name="youden", threshold={"bright": 0.5})],
        "variants": {"fp32": Variant(file=MODEL, precision="fp32", scheme="float", purpose="cpu")},
        "default_variant": "fp32",
        "features": 1,
        "golden": Golden(file=GOLDEN, count=2, tolerance={"fp32": 1e-4}),
        "parts": {},
    }
    return Manifest(**{**fields, **changes})


def write_tiny(
    path: Path,
    *,
    network: bytes | None = None,
    samples: bytes | None = None,
    keys: Sequence[SigningKey] = (),
    **changes: Any,
) -> Bundle:
    """Write a bundle that works, unless it is given a broken part, signed by `keys`, and open it."""
    network = model() if network is None else network
    write_bundle(path, manifest(**changes), {MODEL: network, GOLDEN: samples or golden(network)}, keys)
    return open_bundle(path)


def make_key(folder: Path, name: str = "release") -> SigningKey:
    """A new key, whose files are in `folder`."""
    return load_signing_key(new_key(name, folder)[0])


def predictor(bundle: Bundle) -> Predictor:
    """A predictor with an active runner."""
    runner = OnnxRunner(bundle.model(), threads=1)
    runner.activate()
    return Predictor(bundle, runner)


class WarmDecoder:
    """A real decoder whose child outlives the scanner: starting one for every test would take most of the time."""

    def __init__(self) -> None:
        self._decoder = Decoder(SPEC)

    def warm(self) -> None:
        """As `Decoder.warm`."""
        self._decoder.warm()

    def decode(self, path: Path, sha256: str | None) -> DecodedCanvas:
        """As `Decoder.decode`."""
        return self._decoder.decode(path, sha256)

    def close(self) -> None:
        """Called by the scanner; the child stays."""

    def end(self) -> None:
        """End the child."""
        self._decoder.close()


def picture(seed: int = 0, *, size: int = 24, bright: bool | None = None) -> NDArray[np.uint8]:
    """Grey noise, all of it dark or bright on request; another seed is another content."""
    low, high = {None: (0, 255), False: (0, 60), True: (200, 255)}[bright]
    return np.random.default_rng(seed).integers(low, high, (size, size), dtype=np.uint8)


def png(path: Path, seed: int = 0, *, size: int = 24, bright: bool | None = None) -> Path:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(picture(seed, size=size, bright=bright)))
    return path


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Content of a PNG."""
    done, data = cv2.imencode(".png", pixels)
    assert done
    return bytes(data.tobytes())


def dicom(path: Path, seed: int = 0, *, kind: Kind = "CR", name: str = "ANONYMOUS") -> Path:
    """Write a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dicom(path, picture(seed), kind=kind, subject=PatientFacts(name=name))
    return path
