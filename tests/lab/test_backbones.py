"""Every tested backbone builds, trains a step, exports and agrees with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgedx.core.errors import UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec
from edgedx.device.run_onnx import OnnxRunner
from edgedx.lab.export import MAX_DIFFERENCE, export_onnx
from edgedx.lab.teacher import TESTED, build_model, classifier

# vgg16 alone has 134 million weights, whatever the input; 96 px is enough for inception_v3.
SPEC = PreprocessSpec(size=(96, 96))


@pytest.mark.parametrize("backbone", TESTED)
def test_backbone_trains_a_step_exports_and_agrees_with_onnx_runtime(backbone: str) -> None:
    torch.manual_seed(0)
    model = build_model(backbone, 2, SPEC, dropout=0.2, stochastic_depth=0.1).train()
    images, labels = torch.randn(4, *SPEC.input_shape), torch.tensor([0, 1, 0, 1])
    before = classifier(model).weight.detach().clone()  # type: ignore[operator]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    assert not torch.equal(before, classifier(model).weight)  # type: ignore[arg-type]
    model.eval()
    with torch.no_grad():
        expected = model(images).numpy()
    with OnnxRunner(export_onnx(model, SPEC)) as runner:
        found = runner.infer(images.numpy())
        alone = runner.infer(images[:1].numpy())
    assert np.abs(found.logits - expected).max() <= MAX_DIFFERENCE * max(1.0, float(np.sqrt((expected**2).mean())))
    assert found.features is not None and found.features.ndim == 2
    assert alone.logits.shape == (1, 2)  # the batch is dynamic


def test_an_unknown_backbone_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnsupportedModel, match="resnet50"):
        build_model("resnet5o", 2, SPEC)


def test_an_input_too_small_for_the_backbone_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="48x48"):
        build_model("inception_v3", 2, PreprocessSpec(size=(48, 48)))
