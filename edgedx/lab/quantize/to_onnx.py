"""torch to ONNX: self-contained, dynamic batch, logits and pooled features; proven equal before anyone uses it."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from edgedx.core.errors import GateRefused, UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec
from edgedx.device.runtime.run_onnx import CPU, OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.backbone import WithFeatures
from edgedx.lab.network.column_head import image_part
from edgedx.lab.network.torch_runner import TorchRunner

OPSET = 18
MAX_DIFFERENCE = 1e-4
"""Greatest absolute difference of logits between torch and ONNX Runtime, both in FP32, where logits are of unit size;
larger ones are allowed proportionally more, because float32 itself is relative."""


def export_onnx(model: nn.Module, spec: PreprocessSpec) -> bytes:
    """Export a classifier with input ``image`` (N, C, H, W) and outputs ``logits`` and ``features``.

    Of a model with columns it is the image's path, whose graph is quantized and shown by itself; `columns.add_columns`
    makes it whole.

    Raises
    ------
    UnsupportedModel
        torch cannot express the model in ONNX opset 18.
    """
    wrapped = WithFeatures(image_part(model)).eval().to("cpu", memory_format=torch.contiguous_format)
    example = torch.zeros(2, *spec.input_shape)
    noise = io.StringIO()  # the exporter prints its progress to stdout, which belongs to --json
    try:
        with (
            warnings.catch_warnings(),
            torch.no_grad(),
            contextlib.redirect_stdout(noise),
            _quiet("torch.onnx", "onnxscript"),
            _out_of_place(wrapped),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                wrapped,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["logits", "features"],
                dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
                verbose=False,
            )
    except Exception as error:  # the exporter has a class for each of its steps
        raise UnsupportedModel(
            f"{type(model).__name__} cannot be exported to ONNX: {str(error).splitlines()[0]}",
            next_step="choose one of the tested backbones: `edgedx finetune --help` lists them",
        ) from error
    assert program is not None
    return _fold(program.model_proto)


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Activations that write in place cost the exporter a quarter of its time to rewrite; the graph is the same."""
    changed = [module for module in model.modules() if getattr(module, "inplace", None) is True]
    for module in changed:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True  # type: ignore[assignment]


def _fold(model: onnx.ModelProto) -> bytes:
    """Fold batch norm and constants by ONNX Runtime's own basic optimizer: quantization needs it, and files shrink."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        folded = onnx.load(options.optimized_model_filepath)
    del folded.metadata_props[:]  # holds torch's stack traces, with paths of this machine
    for node in folded.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*folded.graph.value_info, *folded.graph.input, *folded.graph.output]:
        del value.metadata_props[:]
    onnx.checker.check_model(folded)
    return folded.SerializeToString()


def check_parity(model: nn.Module, exported: bytes, data: Dataset, spec: PreprocessSpec) -> dict[str, float]:
    """Compare torch with ONNX Runtime over `data`.

    Raises
    ------
    GateRefused
        Logits differ by more than `MAX_DIFFERENCE`, or a decision differs.
    """
    torch_logits, onnx_logits = (
        predict(runner, data, spec) for runner in (TorchRunner(model, "cpu"), OnnxRunner(exported))
    )
    difference = float(np.abs(torch_logits - onnx_logits).max())
    flips = int((torch_logits.argmax(axis=1) != onnx_logits.argmax(axis=1)).sum())
    allowed = MAX_DIFFERENCE * max(1.0, float(np.sqrt(np.mean(torch_logits**2))))
    if not difference <= allowed or flips:
        raise GateRefused(
            f"the exported model is not the trained one: logits differ by up to {difference:.2g} "
            f"(allowed {allowed:.2g}), {flips} of {len(data)} decisions flip",
            next_step="report it with the backbone's name; ship nothing from this run",
        )
    return {"max_difference": difference, "allowed": allowed, "images": len(data)}
