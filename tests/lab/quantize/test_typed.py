"""FP16 typing of graphs: sorted, valid, close to what they were, and INT8 where they were INT8."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from networks import convolution  # noqa: E402
from onnx import helper

from edgedx.core.errors import UnsupportedModel  # noqa: E402
from edgedx.device.runtime.run_onnx import OnnxRunner  # noqa: E402
from edgedx.lab.quantize.to_fp16 import _sort, to_fp16  # noqa: E402


def test_inputs_and_outputs_stay_float32_and_the_rest_is_fp16() -> None:
    plain = convolution(extra=[helper.make_node("Softmax", ["pooled"], ["logits"])])
    typed = onnx.load_from_string(to_fp16(plain))
    kinds = {tensor.data_type for tensor in typed.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16}
    ends = [*typed.graph.input, *typed.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}
    image = np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)
    with OnnxRunner(plain) as exact, OnnxRunner(typed.SerializeToString()) as half:
        assert np.abs(exact.infer(image).logits - half.infer(image).logits).max() < 2e-3


def test_a_cast_of_the_input_stands_before_its_readers() -> None:
    typed = onnx.load_from_string(to_fp16(convolution()))
    onnx.checker.check_model(typed)  # refuses nodes that are not in order
    assert typed.graph.node[0].op_type == "Cast"
    assert [entry.domain for entry in typed.opset_import] == [""]


def test_a_graph_that_reads_what_nothing_makes_is_refused() -> None:
    model = onnx.load_from_string(convolution(extra=[helper.make_node("Add", ["pooled", "ghost"], ["logits"])]))
    with pytest.raises(UnsupportedModel, match="nothing makes"):
        _sort(model.graph)
