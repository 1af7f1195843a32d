"""Pretrained weights fit or are refused; nothing in a file is ever executed; offline says what to do."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgedx.core.errors import CheckpointError, InputOutputError, UnsupportedModel
from edgedx.core.preprocess import PreprocessSpec
from edgedx.lab.network.backbone import WithFeatures, build_model, classifier, refuse_unexportable
from edgedx.lab.network.weights import PACKAGED, classifier_keys, load_weights, read_state

GREY = PreprocessSpec(size=(32, 32))
RGB = PreprocessSpec(size=(32, 32), colour="rgb", mean=(0.5,) * 3, std=(0.2,) * 3)


def _model(
    spec: PreprocessSpec = RGB, backbone: str = "test_efficientnet", classes: int = 2, seed: int = 0
) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(backbone, classes, spec)


def _body(model: nn.Module) -> dict[str, Tensor]:
    heads = classifier_keys(model)
    return {key: value.clone() for key, value in model.state_dict().items() if key not in heads and "num_b" not in key}


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


class Payload:
    """Unpickling it would create a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


# Files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_fills_all_but_the_classifier(tmp_path: Path, suffix: str) -> None:
    source, path = _model(classes=5, seed=1), tmp_path / f"w{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    model = _model(seed=2)
    head = classifier(model).weight.clone()  # type: ignore[union-attr, operator]
    assert load_weights(model, "test_efficientnet", str(path)) == f"file w{suffix}"
    assert _same(_body(model), _body(source))
    assert torch.equal(classifier(model).weight, head)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
def test_a_training_checkpoint_of_several_processes_is_unwrapped(tmp_path: Path, wrap: Any) -> None:
    source = _model(seed=1)
    torch.save(wrap({f"module.{key}": value for key, value in source.state_dict().items()}), tmp_path / "w.pth")
    model = _model(seed=2)
    load_weights(model, "test_efficientnet", str(tmp_path / "w.pth"))
    assert _same(_body(model), _body(source))


def test_colour_weights_fit_a_grey_model_that_sees_the_same(tmp_path: Path) -> None:
    source, model = _model(RGB, seed=1), _model(GREY, seed=2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_weights(model, "test_efficientnet", str(tmp_path / "w.safetensors"))
    image = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        grey, colour = (
            m.eval().forward_features(x) for m, x in ((model, image), (source, image.expand(-1, 3, -1, -1)))
        )
    torch.testing.assert_close(grey, colour, rtol=1e-3, atol=1e-4)


def test_weights_of_another_backbone_are_refused_and_not_half_loaded(tmp_path: Path) -> None:
    save_file(_model(backbone="test_resnet").state_dict(), tmp_path / "w.safetensors")
    model = _model()
    before = _body(model)
    with pytest.raises(CheckpointError, match="does not fit this backbone") as caught:
        load_weights(model, "test_efficientnet", str(tmp_path / "w.safetensors"))
    assert "model.backbone" in str(caught.value.next_step)
    assert _same(_body(model), before)


@pytest.mark.parametrize(
    "changed", [{}, {"blocks.1.0.conv_exp.weight": torch.zeros(3, 3, 1, 1)}], ids=["missing", "shape"]
)
def test_a_file_with_one_wrong_tensor_is_refused_by_its_name(tmp_path: Path, changed: dict[str, Tensor]) -> None:
    state, key = _model().state_dict(), "blocks.1.0.conv_exp.weight"
    del state[key]
    save_file({**state, **changed}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
        load_weights(_model(), "test_efficientnet", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("writer", ["torch", "old torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, writer: str) -> None:
    marker, path = tmp_path / "executed", tmp_path / "w.pth"
    content = {"conv.weight": torch.zeros(2), "extra": Payload(marker)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(CheckpointError, match="not a weights file that is safe to read") as caught:
        load_weights(_model(), "test_efficientnet", str(path))
    assert not marker.exists()
    assert "safetensors" in str(caught.value.next_step)


def test_the_payload_of_that_test_is_real(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(_model(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="safe to read"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_garbage_is_refused_and_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputOutputError, match="(?i)no such file"):
        read_state(tmp_path / name)
    for content in (b"", b"<html>404</html>", bytes(4096)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            read_state(tmp_path / name)


# Packages and the hub


@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_the_packaged_lite0_loads_whole(spec: PreprocessSpec) -> None:
    model, fresh = _model(spec, "tf_efficientnet_lite0"), _model(spec, "tf_efficientnet_lite0", seed=0)
    assert load_weights(model, "tf_efficientnet_lite0", "auto") == f"package {PACKAGED['tf_efficientnet_lite0']}"
    before, after = _body(fresh), _body(model)
    assert len(after) + len(classifier_keys(model)) == 247
    assert [key for key in after if torch.equal(before[key], after[key])] == []
    assert all(torch.isfinite(value).all() for value in after.values())
    assert all((value >= 0).all() for key, value in after.items() if key.endswith("running_var"))


def test_packaged_weights_see_more_than_random_ones() -> None:
    """In the wrong order the tensors would fit here and there, but the features would be noise or explode."""
    model = _model(RGB, "tf_efficientnet_lite0")
    load_weights(model, "tf_efficientnet_lite0", "auto")
    with torch.no_grad():
        features = model.eval().forward_features(torch.randn(8, 3, 64, 64))  # type: ignore[operator]
    assert 0.01 < float(features.std()) < 10


def test_from_scratch_loads_nothing() -> None:
    model = _model()
    before = _body(model)
    assert load_weights(model, "test_efficientnet", "none") == "from scratch"
    assert _same(_body(model), before)


def test_offline_without_a_package_says_what_to_do_and_does_not_hang(tmp_path: Path) -> None:
    program = """
from edgedx.core.errors import WeightsMissing
from edgedx.core.preprocess import PreprocessSpec
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.weights import load_weights
try:
    load_weights(build_model("test_efficientnet", 2, PreprocessSpec(size=(32, 32))), "test_efficientnet", "auto")
except WeightsMissing as error:
    print(error.exit_code, error, error.next_step)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("3 no pretrained weights for test_efficientnet")
    assert all(way in done.stdout for way in ("--weights FILE", "--from-scratch", "tf_efficientnet_lite0"))


# Building


def test_an_unknown_backbone_names_near_ones() -> None:
    with pytest.raises(UnsupportedModel, match="resnet50") as caught:
        build_model("resnet5O", 2, GREY)
    assert caught.value.exit_code == 2


def test_an_input_too_small_for_the_backbone_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="inception_v3 cannot take 32x32"):
        build_model("inception_v3", 2, GREY)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_vit"])
def test_features_come_beside_the_same_logits(backbone: str) -> None:
    model = _model(PreprocessSpec(size=(160, 160)), backbone, classes=3)
    image = torch.randn(2, 1, 160, 160)
    with torch.no_grad():
        logits, features = WithFeatures(model)(image)
        torch.testing.assert_close(logits, model(image))
    assert logits.shape == (2, 3) and features.ndim == 2 and features.shape[1] == classifier(model).in_features


# What cannot be exported


class _Undecided(nn.Module):
    """A network whose path depends on its values, as some of the hub's do."""

    num_features = 4

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        return maps * 2 if maps.mean() > 0 else maps

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def test_a_network_that_cannot_be_exported_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.is_model", lambda name: True)
    monkeypatch.setattr("timm.create_model", lambda name, **options: _Undecided(**options))
    with pytest.raises(UnsupportedModel, match="undecided cannot be exported") as caught:
        refuse_unexportable("undecided", 2, GREY)
    assert "tf_efficientnet_lite0" in str(caught.value.next_step)


def test_a_network_that_can_be_exported_passes() -> None:
    refuse_unexportable("test_efficientnet", 3, GREY)
    refuse_unexportable("tf_efficientnet_lite0", 3, GREY)
