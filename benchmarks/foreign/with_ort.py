"""ONNX Runtime's static quantization: SOURCE.onnx IMAGES.npy TARGET.onnx PRESET, in an environment of its own.

``default`` is ``quantize_static`` as it comes. The others are what its documentation advises for convolutions on an
x86 CPU: preparation of the graph, unsigned activations, weights per channel, of 7 bits where the CPU has no VNNI, by
each of its calibrators.
"""

import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Reader(CalibrationDataReader):
    """One image at a time."""

    def __init__(self, images):
        self.left = iter(images)

    def get_next(self):
        """The next, or None."""
        image = next(self.left, None)
        return None if image is None else {"image": image[None]}


source, images, target, preset = sys.argv[1:]
reader = Reader(np.load(images))
if preset == "default":
    quantize_static(source, target, reader)
else:
    prepared = Path(target).with_suffix(".prepared.onnx")
    quant_pre_process(source, str(prepared))
    quantize_static(
        str(prepared),
        target,
        reader,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range="vnni" not in Path("/proc/cpuinfo").read_text(),
        calibrate_method=METHODS[preset],
    )
    prepared.unlink()
