"""NNCF's post-training quantization of ONNX: SOURCE.onnx IMAGES.npy TARGET.onnx PRESET, in an environment of its own.

``default`` is ``nncf.quantize`` as it comes; ``mixed`` has asymmetric activations, and ``accurate`` the slow bias
correction, layer by layer, too: what its documentation offers for accuracy.
"""

import sys

import nncf
import numpy as np
import onnx

source, images, target, preset = sys.argv[1:]
pictures = np.load(images)
data = nncf.Dataset(list(pictures), lambda image: {"image": image[None]})
options = {} if preset == "default" else {"preset": nncf.QuantizationPreset.MIXED}
options |= {"fast_bias_correction": False} if preset == "accurate" else {}
onnx.save(nncf.quantize(onnx.load(source), data, subset_size=len(pictures), **options), target)
