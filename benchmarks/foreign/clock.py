"""All latencies of one set by turns in one process: MODELS.json TIMES.json SECONDS.

MODELS holds each model's path, runtime (onnxruntime or openvino) and input shape; one image, one thread. It runs where
OpenVINO is, with edgedx's own clock and its own way of opening ONNX Runtime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import openvino

from edgedx.core.timing import interleave
from edgedx.device.runtime.run_onnx import OnnxRunner


def call_of(path, runtime, image):
    """A call without arguments that runs one image."""
    if runtime == "onnxruntime":
        runner = OnnxRunner(path, threads=1)
        runner.activate()
        return lambda: runner.infer(image)
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    request = compiled.create_infer_request()
    return lambda: request.infer([image])


models, target, seconds = sys.argv[1:]
image_of = np.random.default_rng(0).normal
calls = {
    name: call_of(path, runtime, image_of(size=shape).astype(np.float32))
    for name, (path, runtime, shape) in json.loads(Path(models).read_text()).items()
}
times = interleave(calls, min_seconds=float(seconds), max_seconds=4 * float(seconds), repeats=200, threads=1)
Path(target).write_text(json.dumps({name: one.model_dump() for name, one in times.items()}))
