"""A bundle whose model is told columns beside the image, and labelled samples for it."""

from __future__ import annotations

import io

import numpy as np
import onnx
from bundles import SPEC, golden, model
from onnx import TensorProto, helper, numpy_helper

from edgedx.core.preprocess import normalise
from edgedx.core.settings.columns import FittedColumn, encode_rows
from edgedx.device.runtime.run_onnx import OnnxRunner

COLUMNS = [
    FittedColumn(name="age", kind="number", header="PatientAgeYears", mean=50.0, spread=10.0),
    FittedColumn(name="sex", kind="category", categories=["F", "M"], header="PatientSex"),
]

WEIGHT = np.array([[-0.5, 0.5], [0.1, -0.1], [0.3, -0.3], [0.0, 0.0]], np.float32)  # T = 4 numbers, 2 classes


def with_columns(weight: np.ndarray = WEIGHT) -> bytes:
    """The tiny network, and a product of the columns added to its logits."""
    made = onnx.load_from_string(model())
    made.graph.node[-1].output[0] = "image logits"
    made.graph.input.append(helper.make_tensor_value_info("columns", TensorProto.FLOAT, ["n", len(weight)]))
    made.graph.initializer.append(numpy_helper.from_array(weight, "of columns"))
    made.graph.node.append(helper.make_node("MatMul", ["columns", "of columns"], ["told"]))
    made.graph.node.append(helper.make_node("Add", ["image logits", "told"], ["logits"]))
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def samples(network: bytes, columns: np.ndarray) -> bytes:
    """Golden samples whose logits are those with `columns`."""
    with np.load(io.BytesIO(golden(network))) as archive:
        arrays = dict(archive)
    batch = np.stack([normalise(arrays[f"image_{index}"], SPEC) for index in range(2)])
    with OnnxRunner(network, threads=1) as runner:
        arrays |= {"columns": columns, "logits_fp32": runner.infer(batch, columns).logits}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


ROWS = encode_rows(COLUMNS, [{"age": "70", "sex": "F"}, {"age": "45"}])
