"""Pruning meets its budget, replays to the bit, and refuses what it cannot do."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from edgedx.core.errors import UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Student, Task
from edgedx.lab.compress.prune import prune
from edgedx.lab.network.backbone import TESTED, build_model
from edgedx.lab.network.pruned import count_macs, replay
from edgedx.lab.train.tasks import Classify

SPEC = PreprocessSpec(size=(96, 96))
TASK = Task(kind="binary", classes=["a", "b"], positive="b")
OPTIONS = Student(macs=0.5, steps=2, recovery_epochs=0.0)


def _batches(step: int) -> Iterator[tuple[Tensor, Tensor]]:
    torch.manual_seed(step)
    yield torch.randn(4, *SPEC.input_shape), torch.eye(2)[[0, 1, 0, 1]]


SLOW = {"convnext_tiny", "vgg16", "densenet121", "inception_v3", "tf_efficientnet_lite1", "tf_efficientnet_lite2"}


@pytest.mark.filterwarnings("error:Unwrapped parameters")
@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TESTED],
)
def test_pruning_meets_its_budget_and_replays_bit_identically(backbone: str) -> None:
    torch.manual_seed(0)
    model = build_model(backbone, 2, SPEC)
    for name, weight in model.named_parameters():
        if weight.ndim == 1 and "weight" in name:  # untrained residual blocks end in zeros, which no gradient passes
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    fresh = copy.deepcopy(model)
    whole = count_macs(model, SPEC)
    history = prune(model, SPEC, OPTIONS, Classify(TASK), _batches, lambda step: None)
    assert 0.3 * whole < count_macs(model, SPEC) <= 0.5 * whole
    replay(fresh, history, SPEC)
    assert {key: value.shape for key, value in fresh.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    fresh.load_state_dict(model.state_dict())
    image = torch.randn(1, *SPEC.input_shape)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(image), model.eval()(image))


def test_the_residual_scales_of_convnext_lose_the_channels_that_their_branches_lose() -> None:
    torch.manual_seed(0)
    model = build_model("convnext_atto", 2, SPEC)
    blocks = [module for module in model.modules() if type(module).__name__ == "ConvNeXtBlock"]
    for block in blocks:  # every channel carries its number in three places that belong together
        for vector in (block.gamma, block.mlp.fc2.bias, block.conv_dw.bias):
            vector.data = torch.arange(len(vector), dtype=torch.float32)
    widths = [len(block.gamma) for block in blocks]
    options = OPTIONS.model_copy(update={"macs": 0.8, "steps": 1})
    prune(model, SPEC, options, Classify(TASK), _batches, lambda step: None)
    for block in blocks:
        assert torch.equal(block.gamma, block.mlp.fc2.bias) and torch.equal(block.gamma, block.conv_dw.bias)
    assert any(len(block.gamma) < width for block, width in zip(blocks, widths, strict=True))


@pytest.mark.parametrize("backbone", ["mixer_s32_224", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_network_that_torch_pruning_does_not_understand_is_refused(backbone: str) -> None:
    spec = PreprocessSpec(size=(224, 224))
    with pytest.raises(UnsupportedModel) as caught:
        prune(build_model(backbone, 2, spec), spec, OPTIONS, Classify(TASK), _whole, lambda step: None)
    assert "student.backbone" in str(caught.value.next_step)


def _whole(step: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield torch.randn(2, 1, 224, 224), torch.eye(2)


def test_recovery_runs_between_steps_but_not_after_the_last() -> None:
    seen: list[int] = []
    model = build_model("mobilenetv2_100", 2, SPEC)
    prune(model, SPEC, OPTIONS.model_copy(update={"steps": 3}), Classify(TASK), _batches, seen.append)
    assert seen == [0, 1]


def test_a_budget_out_of_reach_says_how_far_it_came() -> None:
    model = build_model("mobilenetv2_100", 2, SPEC)
    with pytest.raises(UnsupportedModel, match="the recipe asks for 1%"):
        prune(model, SPEC, Student(macs=0.01, steps=1, max_layer_pruning=0.3), Classify(TASK), _batches, lambda s: None)
