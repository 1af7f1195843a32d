"""A timm backbone with a new head for a task."""

from __future__ import annotations

import difflib
import warnings
from functools import lru_cache
from itertools import combinations
from typing import Any

import timm
import torch
from torch import nn

from edgedx.core.errors import UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec

# Built, trained a step, exported and compared with ONNX Runtime by tests/lab/compress/test_backbones.py.
TESTED = (
    "vgg16",
    "resnet50",
    "inception_v3",
    "densenet121",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "mobilenetv2_100",
    "convnext_tiny",
)


def build_model(
    backbone: str, classes: int, spec: PreprocessSpec, *, dropout: float = 0.0, stochastic_depth: float = 0.0
) -> nn.Module:
    """Build a timm model with random weights.

    Raises
    ------
    UnsupportedModel
        timm does not know the name, or the model cannot take the input size.
    """
    if not timm.is_model(backbone):
        near = difflib.get_close_matches(backbone, timm.list_models(), n=3) or list(TESTED[:3])
        raise UnsupportedModel(
            f"timm {timm.__version__} has no model {backbone!r}; near: {', '.join(near)}",
            next_step=f"tested backbones are {', '.join(TESTED)}",
        )
    options: dict[str, Any] = {"num_classes": classes, "in_chans": spec.channels, "drop_rate": dropout}
    model = _create(backbone, options, {"drop_path_rate": stochastic_depth}, {"img_size": spec.size}).eval()
    # timm starts some heads with weights of +-1/sqrt(classes): with two classes, logits of 30 before the first step.
    nn.init.normal_(classifier(model).weight, std=0.01)  # type: ignore[arg-type]
    nn.init.zeros_(classifier(model).bias)  # type: ignore[arg-type]
    try:
        with torch.no_grad():
            model(torch.zeros(1, *spec.input_shape))
    except (RuntimeError, AssertionError) as error:
        raise UnsupportedModel(
            f"{backbone} cannot take {spec.size[0]}x{spec.size[1]} pixels: {str(error).splitlines()[0]}",
            next_step="raise preprocess.size (inception_v3 needs 75 or more), or choose another backbone",
        ) from error
    return model


def _create(backbone: str, options: dict[str, Any], *optional: dict[str, Any]) -> nn.Module:
    """Create a timm model with as many of the optional arguments as its family takes, the first ones first."""
    for count in range(len(optional), 0, -1):
        for chosen in combinations(optional, count):
            try:
                return timm.create_model(backbone, **options, **{k: v for extra in chosen for k, v in extra.items()})
            except TypeError:  # this family has no such argument
                continue
    return timm.create_model(backbone, **options)


def classifier(model: nn.Module) -> nn.Module:
    """The classification layer."""
    layer = model.get_classifier()  # type: ignore[operator]
    assert isinstance(layer, nn.Module)
    return layer


@lru_cache(maxsize=64)
def refuse_unexportable(backbone: str, classes: int, spec: PreprocessSpec) -> None:
    """Trace a fresh model as `lab.quantize.to_onnx` will: what cannot be exported is not worth training.

    Seconds; backbones in `TESTED` are known to pass. That torch can trace a model does not prove that ONNX has all of
    its operators: those few fail in `edgedx compress`.

    Raises
    ------
    UnsupportedModel
        The network decides by its values, or lacks what an exported graph returns.
    """
    if backbone in TESTED:
        return
    model = WithFeatures(build_model(backbone, classes, spec)).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            batch = torch.export.Dim("batch")
            torch.export.export(model, (torch.zeros(2, *spec.input_shape),), dynamic_shapes={"x": {0: batch}})
    except Exception as error:  # the tracer has a class for each of its steps
        raise UnsupportedModel(
            f"{backbone} cannot be exported, so no device could run it: {(str(error).splitlines() or ['?'])[0]}",
            next_step=f"choose another backbone; tested are {', '.join(TESTED)}",
        ) from error


class WithFeatures(nn.Module):
    """A classifier that also returns its pooled features, the second output of every exported graph.

    Parameters
    ----------
    model : nn.Module
        A timm model with ``forward_features`` and ``forward_head``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (N, C, H, W) to logits (N, classes) and features (N, D)."""
        maps = self.model.forward_features(x)  # type: ignore[operator]
        features = self.model.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        logits = classifier(self.model)(features)
        return logits.flatten(1), features.flatten(1)
