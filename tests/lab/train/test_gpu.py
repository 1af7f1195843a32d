"""What only a GPU can show: the same views and answers as on the CPU, steps captured, a killed training's same weights.

Without one these are skipped. `benchmarks/gpu_session.sh` runs them where there is one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.feed.canvases import OnDevice, Streamed
from edgedx.lab.feed.feed import Feed
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.train import step as stepping
from edgedx.lab.train.distil import Distil, contrast_for
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Phase, Training
from edgedx.lab.train.tasks import Classify

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
SPEC = PreprocessSpec(size=(32, 32), bits=16, window="none")
BINARY = Task(**tiny.RECIPE["task"])
STRONG = Augment(rotation=20, zoom=0.2, shift=0.1, intensity=0.4, laterality_matters=False, flip_horizontal=True)


def data(count: int = 256) -> Dataset:
    """Noise of 16 bits; the finding is a bright square."""
    labels = np.arange(count) % 2
    pixels = np.random.default_rng(0).integers(0, 50_000, (count, 32, 32))
    pixels[labels == 1, 8:16, 8:16] += 15_000
    return replace(tiny.dataset(labels, side=32), canvases=pixels.astype(np.uint16))


def feed(device: str, **changes: Any) -> Feed:
    """Batches of 32, mixed."""
    settings: dict[str, Any] = {"batch_size": 32, "sampler": False, "seed": 0, "mixup": 0.3, **changes}
    return Feed(data(), BINARY, SPEC, STRONG, device=device, **settings)


def trained(path: Path | None = None, *, resume: bool = False, task: Any = None, **options: Any) -> dict[str, Any]:
    """Weights and history of a short training, which may end early."""
    stop_after = options.pop("stop_after", None)
    recipe = tiny.recipe(
        preprocess={"bits": 16},
        augment={"mixup": 0.3},
        train={"batch_size": 32, "epochs": 4, "checkpoint_minutes": 1e-6, "learning_rate": 3e-3, **options},
    )
    torch.manual_seed(0)
    model = build_model("test_efficientnet", 2, SPEC, dropout=0.2, stochastic_depth=0.1)

    class Enough(Exception):
        pass

    def watch(line: dict[str, Any]) -> None:
        if stop_after is not None and line["epoch"] >= stop_after:
            raise Enough

    phases = [Phase("all layers", 4, recipe.train.learning_rate)]
    training = Training(model, task or Classify(BINARY), data(), data(64), recipe, phases, watch=watch)
    try:
        outcome = fit(training, state=path, resume=resume, keep_state=True)
    except Enough:
        return {}
    return {"weights": {k: v.cpu().clone() for k, v in model.state_dict().items()}, "history": outcome.history}


def test_views_are_those_of_the_cpu() -> None:
    for here, there in zip(feed("cpu").batches(0, 20), feed("cuda").batches(0, 20), strict=True):
        # network inputs have a spread of about 1; a 16-bit grey level is 6e-5 of it
        torch.testing.assert_close(there[0].cpu(), here[0], rtol=0, atol=2e-3)
        assert torch.equal(there[1].cpu(), here[1])


def test_where_the_canvases_lie_changes_nothing() -> None:
    device = torch.device("cuda")
    one = feed("cuda")
    assert isinstance(one.canvases, OnDevice)
    expected = [images.clone() for images, _ in one.batches(0, 20)]
    one.canvases = Streamed([data()], device, 100 * 2048)
    assert all(torch.equal(a, b) for a, (b, _) in zip(expected, one.batches(0, 20), strict=True))


def test_answers_are_those_of_the_cpu() -> None:
    model = build_model("test_efficientnet", 2, SPEC)
    here, there = (predict(TorchRunner(model, where), data(), SPEC) for where in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_captured_steps_are_the_eager_ones_to_the_bit(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = trained(optimizer=optimizer)
    monkeypatch.setattr(stepping, "WARM_UP", 10_000)  # never captured
    eager = trained(optimizer=optimizer)
    different = [name for name, value in eager["weights"].items() if not torch.equal(captured["weights"][name], value)]
    assert not different and captured["history"][-1]["loss"] == eager["history"][-1]["loss"]


def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = trained()
    trained(tmp_path / "state.safetensors", stop_after=2)
    resumed = trained(tmp_path / "state.safetensors", resume=True)
    different = [name for name, value in whole["weights"].items() if not torch.equal(value, resumed["weights"][name])]
    assert not different


def test_a_compiled_training_learns_as_well() -> None:
    plain, compiled = trained(), trained(compile="on")
    assert compiled["history"][-1]["val_auc"] > 0.9 and plain["history"][-1]["val_auc"] > 0.9


def test_distillation_with_features_is_captured_too() -> None:
    teacher = build_model("test_efficientnet", 2, SPEC).eval()
    student = build_model("test_efficientnet", 2, SPEC)
    task = Distil(
        teacher, Classify(BINARY), temperature=4, weight=0.5, contrast=contrast_for(student, teacher, 2, 64, 0)
    )
    outcome = trained(task=task)
    assert np.isfinite(outcome["history"][-1]["loss"])


def test_divergence_is_noticed_without_waiting_for_the_device() -> None:
    with pytest.raises(Exception, match="training has diverged"):
        trained(optimizer="sgd", learning_rate=1e9, clip_norm=0)
