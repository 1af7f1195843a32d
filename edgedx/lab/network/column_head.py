"""Columns beside the image, in torch and in ONNX: a small head whose answer is added to the image's logits.

Hidden features of the columns, joined to the pooled image features before the last linear layer, add up the same way:
that layer's product with both is its product with the one plus its product with the other. So the head is computed
apart and added, and the image's path (pruning, 8 bits, class activation maps, distances of features) stays exactly
what it is without columns. What this cannot learn is an interaction: a column moves the answer to all images alike.

The graph of the image is quantized by itself, and the head joins the finished graph in float, as `lab.cam` adds maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgedx.core.settings.columns import FittedColumn, width
from edgedx.device.runtime.runner import COLUMNS

HIDDEN = 16
_NODES = ("hidden", "active", "answer")


class ColumnHead(nn.Module):
    """Encoded columns (N, T) to logits (N, K): one hidden layer, and a last one that starts at zero.

    Parameters
    ----------
    trained : bool
        False: weights are buffers, which no optimizer moves.
    """

    def __init__(self, columns: int, classes: int, *, trained: bool = True) -> None:
        super().__init__()
        first, last = nn.Linear(columns, HIDDEN), nn.Linear(HIDDEN, classes, bias=False)
        nn.init.zeros_(last.weight)  # a new head says nothing: training begins at the image's own answer
        self.weight_in: Tensor
        self.bias_in: Tensor
        self.weight_out: Tensor
        for name, value in (("weight_in", first.weight), ("bias_in", first.bias), ("weight_out", last.weight)):
            if trained:
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value.detach())

    def forward(self, columns: Tensor) -> Tensor:
        """Map (N, T) to (N, K)."""
        return F.linear(F.relu(F.linear(columns, self.weight_in, self.bias_in)), self.weight_out)

    @property
    def inputs(self) -> int:
        """Length of an encoded row, T."""
        return int(self.weight_in.shape[1])

    def fixed(self) -> ColumnHead:
        """A copy that does not train."""
        copy = ColumnHead(self.inputs, len(self.weight_out), trained=False)
        copy.load_state_dict(self.state_dict())
        return copy


class WithColumns(nn.Module):
    """A model of images, and a head of columns whose logits are added; without columns all are absent.

    Parameters
    ----------
    image : nn.Module
        Images (N, C, H, W) to logits (N, K).
    """

    def __init__(self, image: nn.Module, head: ColumnHead) -> None:
        super().__init__()
        self.image, self.head = image, head

    def forward(self, images: Tensor, columns: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) and columns (N, T) to logits (N, K)."""
        if columns is None:
            columns = images.new_zeros(len(images), self.head.inputs)
        answer: Tensor = self.image(images) + self.head(columns)
        return answer

    def get_classifier(self) -> nn.Module:
        """As of a timm model: the last layer of the image's path."""
        layer = self.image.get_classifier()  # type: ignore[operator]
        assert isinstance(layer, nn.Module)
        return layer


def with_columns(model: nn.Module, columns: Sequence[FittedColumn], classes: int) -> nn.Module:
    """The model with a new head for `columns`; as it is where there are none."""
    return WithColumns(model, ColumnHead(width(columns), classes)) if columns else model


def image_part(model: nn.Module) -> nn.Module:
    """The model that reads the image, by itself."""
    return model.image if isinstance(model, WithColumns) else model  # type: ignore[return-value]


def head_of(model: nn.Module) -> ColumnHead | None:
    """The head of the columns, where the model has one."""
    return model.head if isinstance(model, WithColumns) else None


def head_logits(head: ColumnHead | None, columns: np.ndarray | None) -> np.ndarray | float:
    """What the columns (N, T) add to the image's logits: (N, K), float32; 0 without."""
    if head is None or columns is None:
        return 0.0
    with torch.inference_mode():
        return np.asarray(head.cpu()(torch.from_numpy(columns)).numpy())


def add_columns(exported: bytes, model: nn.Module) -> bytes:
    """An exported image graph with a second input ``columns`` (N, T), float32, and the head of `model` added.

    Parameters
    ----------
    exported : bytes
        ONNX from `export_onnx`, `add_cam` or `write_qdq`, whose first output are the image's logits.
    model : nn.Module
        What was exported; without columns the graph is returned as it is.
    """
    head = head_of(model)
    if head is None:
        return exported
    changed = onnx.load_from_string(exported)
    graph = changed.graph
    logits, image = graph.output[0].name, f"{COLUMNS}/image"
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == logits:
                    names[place] = image
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    graph.input.append(helper.make_tensor_value_info(COLUMNS, TensorProto.FLOAT, [batch, head.inputs]))
    for name in ("weight_in", "bias_in", "weight_out"):
        value = np.ascontiguousarray(getattr(head, name).detach().cpu().numpy())
        graph.initializer.append(numpy_helper.from_array(value, f"{COLUMNS}/{name}"))
    hidden, active, answer = (f"{COLUMNS}/{name}" for name in _NODES)
    weights = [f"{COLUMNS}/weight_in", f"{COLUMNS}/bias_in"]
    graph.node.extend(
        [
            helper.make_node("Gemm", [COLUMNS, *weights], [hidden], name=hidden, transB=1),
            helper.make_node("Relu", [hidden], [active], name=active),
            helper.make_node("Gemm", [active, f"{COLUMNS}/weight_out"], [answer], name=answer, transB=1),
            helper.make_node("Add", [image, answer], [logits], name=f"{COLUMNS}/joined"),
        ]
    )
    onnx.checker.check_model(changed)
    return bytes(changed.SerializeToString())
