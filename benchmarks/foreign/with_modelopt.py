"""NVIDIA ModelOpt's ONNX PTQ: SOURCE.onnx IMAGES.npy TARGET.onnx PRESET (entropy, which is its default, or max)."""

import sys

import numpy as np
from modelopt.onnx.quantization import quantize

source, images, target, preset = sys.argv[1:]
quantize(
    source,
    quantize_mode="int8",
    calibration_data=np.load(images),
    calibration_method=preset,
    output_path=target,
    calibration_eps=["cpu"],
)
