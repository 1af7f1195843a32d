"""Every tested backbone builds, trains a step, exports, agrees with ONNX Runtime and goes through NVIDIA's builder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exports import SPEC, exported, in_three_precisions, keep, shared_folder
from networks import needs_rtx  # noqa: E402

from edgedx.core.bundle.engine_part import pack_engine  # noqa: E402
from edgedx.core.errors import UnsupportedModel  # noqa: E402
from edgedx.core.preprocess import PreprocessSpec  # noqa: E402
from edgedx.device.runtime.run_onnx import OnnxRunner  # noqa: E402
from edgedx.lab.network.backbone import TESTED, build_model, classifier  # noqa: E402
from edgedx.lab.quantize.cam import with_cam  # noqa: E402
from edgedx.lab.quantize.to_onnx import MAX_DIFFERENCE, export_onnx  # noqa: E402
from edgedx.lab.ship.engines import build_ahead  # noqa: E402

WITHOUT_CAM = {"vgg16", "convnext_tiny", "inception_v3"}
"""More than pooling and one layer behind the last feature map; or, at this size, a map of one place."""

SLOW = {
    "resnet50",
    "vgg16",
    "inception_v3",
    "densenet121",
    "convnext_tiny",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
}
"""Large, or of the same operators as one that is built on every run."""
BACKBONES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TESTED]

HEAVY = {"vgg16", "resnet50", "inception_v3", "convnext_tiny"}
"""Their weights outweigh the CUDA source text that an 8-bit engine carries, so that its raw size is the smallest."""


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbone_trains_a_step_exports_and_agrees_with_onnx_runtime(
    backbone: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
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
    graph = export_onnx(model, SPEC)
    keep(shared_folder(tmp_path_factory), backbone, graph)  # for the test below
    with OnnxRunner(graph) as runner:
        found = runner.infer(images.numpy())
        alone = runner.infer(images[:1].numpy())
    assert np.abs(found.logits - expected).max() <= MAX_DIFFERENCE * max(1.0, float(np.sqrt((expected**2).mean())))
    assert found.features is not None and found.features.ndim == 2
    assert alone.logits.shape == (1, 2)  # the batch is dynamic
    _, no_cam = with_cam(graph, images.numpy())
    assert (not no_cam) == (backbone not in WITHOUT_CAM), no_cam


@needs_rtx
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_real_builder_takes_every_backbone_in_three_precisions(
    backbone: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = in_three_precisions(exported(shared_folder(tmp_path_factory), backbone))
    built = {name: build_ahead(model, name, quiet=True) for name, model in models.items()}  # type: ignore[arg-type]
    reports = {name: one.report for name, one in built.items()}
    weighted = sum(reports["fp32"].weighted.values())
    assert reports["fp32"].weighted == {"FLOAT": weighted}
    assert not {"HALF", "INT8"} & set(reports["fp32"].types)
    assert reports["fp16"].weighted == {"HALF": weighted}
    # The stem stays float on purpose; everything else that has weights computes in 8 bits.
    assert reports["int8"].weighted == {"HALF": 1, "INT8": weighted - 1}
    # As they ship: raw, a light 8-bit network is mostly CUDA source text. xz takes long for hundreds of megabytes.
    sizes = {name: len(one.plan if backbone in HEAVY else pack_engine(one.plan)) for name, one in built.items()}
    assert sizes["int8"] < sizes["fp16"] < sizes["fp32"]


def test_an_unknown_backbone_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnsupportedModel, match="resnet50"):
        build_model("resnet5o", 2, SPEC)


def test_an_input_too_small_for_the_backbone_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="48x48"):
        build_model("inception_v3", 2, PreprocessSpec(size=(48, 48)))
