"""A checkpoint comes back to the bit, pruned or not; a damaged one is refused; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from edgedx.core.errors import CheckpointError, InputOutputError
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Student, Task
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.compress.prune import prune
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import (
    load_checkpoint,
    load_state,
    pack_optimizer,
    save_checkpoint,
    save_state,
    unpack_optimizer,
)
from edgedx.lab.network.pruned import count_macs
from edgedx.lab.run.card import ModelCard
from edgedx.lab.train.tasks import Classify

TASK = Task(**tiny.RECIPE["task"])
SPEC = PreprocessSpec(size=(32, 32))


def _model(backbone: str = "test_efficientnet") -> nn.Module:
    torch.manual_seed(0)
    model = build_model(backbone, 2, SPEC)
    for weight in model.parameters():
        if weight.ndim == 1:  # untrained blocks end in zeros, which would hide differences
            nn.init.uniform_(weight, 0.5, 1.5)
    return model


def _card(backbone: str = "test_efficientnet", **changes: Any) -> ModelCard:
    return ModelCard(
        backbone=backbone, task=TASK, preprocess=SPEC, role="teacher", weights_from="from scratch", **changes
    )


def _answer(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(torch.randn(3, *SPEC.input_shape, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, _model(), _card())
    return tmp_path


def test_a_model_comes_back_to_the_bit_with_its_card(tmp_path: Path) -> None:
    point = OperatingPoint(name="youden", threshold={"bright": 0.4}, sensitivity=0.9, specificity=0.8)
    model, card = _model(), _card(temperature=1.7, operating_points=[point], metrics={"val_auc": 0.91}, synthetic=True)
    save_checkpoint(tmp_path, model.train(), card)
    found = load_checkpoint(tmp_path)
    own, theirs = model.state_dict(), found.model.state_dict()
    assert own.keys() == theirs.keys() and all(torch.equal(own[key], theirs[key]) for key in own)
    assert torch.equal(_answer(found.model), _answer(model)) and not found.model.training
    assert found.card.model_copy(update={"sha256": ""}) == card


def test_saving_again_writes_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    found = load_checkpoint(saved)
    save_checkpoint(tmp_path / "again", found.model, found.card)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_a_pruned_model_replays_to_the_bit(tmp_path: Path) -> None:
    def batches(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(step)
        yield torch.randn(4, *SPEC.input_shape, generator=generator), torch.eye(2)[[0, 1, 0, 1]]

    model = _model("test_resnet")
    whole = count_macs(model, SPEC)
    history = prune(model, SPEC, Student(macs=0.5, steps=2, round_to=4), Classify(TASK), batches, lambda step: None)
    save_checkpoint(tmp_path, model, _card("test_resnet", pruning=history))
    found = load_checkpoint(tmp_path)
    assert count_macs(found.model, SPEC) == count_macs(model, SPEC) <= 0.5 * whole
    assert torch.equal(_answer(found.model), _answer(model))


def test_nothing_is_pickled(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {"model.safetensors", "model.json"}
    size = int.from_bytes((saved / "model.safetensors").read_bytes()[:8], "little")
    json.loads((saved / "model.safetensors").read_bytes()[8 : 8 + size])
    json.loads((saved / "model.json").read_text())


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:100], lambda d: b"", lambda d: d[:-9] + b"x" + d[-8:]]
)
def test_damaged_weights_are_refused(saved: Path, damage: Any) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged") as caught:
        load_checkpoint(saved)
    assert caught.value.exit_code == 5 and "--overwrite" in str(caught.value.next_step)


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(InputOutputError, match=r"model\.safetensors"):
        load_checkpoint(saved)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"temperature": 0}, "temperature"),
        ({"surprise": 1}, "surprise"),
        ({"task": {"kind": "multiclass", "classes": ["a", "b", "c"]}}, "does not fit"),
        ({"backbone": "test_resnet"}, "does not fit"),
    ],
)
def test_a_card_of_another_model_or_version_is_refused(saved: Path, change: dict[str, Any], named: str) -> None:
    card = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(saved)


# Training state


def test_a_training_state_comes_back_exactly(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(4, 4).T, "d": torch.tensor(7)}
    facts = {"step": 12, "best": 0.1 + 0.2, "history": [{"loss": 1e-17}], "none": None}
    save_state(tmp_path / "s.safetensors", tensors, facts)
    found, told = load_state(tmp_path / "s.safetensors")
    assert told == facts
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) and found[key].dtype == tensors[key].dtype for key in tensors)


def test_tensors_that_share_memory_are_both_kept(tmp_path: Path) -> None:
    shared = torch.randn(4)
    save_state(tmp_path / "s.safetensors", {"a": shared, "b": shared, "c": shared[1:]}, {})
    found, _ = load_state(tmp_path / "s.safetensors")
    assert torch.equal(found["a"], found["b"]) and torch.equal(found["c"], shared[1:])


def test_a_damaged_training_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    for content in (b"", b"garbage" * 9):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged") as caught:
            load_state(path)
        assert "--overwrite" in str(caught.value.next_step)
    save_state(path, {"a": torch.zeros(9)}, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
def test_a_restored_optimizer_steps_to_the_same_weights(tmp_path: Path, kind: Any) -> None:
    options = {"momentum": 0.9} if kind is not torch.optim.AdamW else {}

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        return model, kind([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.01}], **options)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        optimizer.zero_grad()
        model(torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))).square().mean().backward()
        optimizer.step()

    whole, optimizer = make()
    for seed in range(4):
        step(whole, optimizer, seed)
        if seed == 1:
            tensors, numbers = pack_optimizer(optimizer)
            save_state(tmp_path / "s.safetensors", {**tensors, **whole.state_dict()}, {"numbers": numbers})
    resumed, optimizer = make()
    tensors, facts = load_state(tmp_path / "s.safetensors")
    resumed.load_state_dict({key: tensors[key] for key in ("weight", "bias")})
    unpack_optimizer(optimizer, tensors, facts["numbers"])
    for seed in (2, 3):
        step(resumed, optimizer, seed)
    assert torch.equal(resumed.weight, whole.weight) and torch.equal(resumed.bias, whole.bias)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
