"""How a teacher goes on learning: what each method shows it, and what holds it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.run.card import ModelCard
from edgedx.lab.train.tasks import Classify
from edgedx.lab.update.elastic import Elastic, anchor_of, fisher
from edgedx.lab.update.learn import MOST_REPEATS, learn, rehearsed


def _recipe(**update: object) -> Recipe:
    return tiny.recipe(update={"epochs": 2, **update}, train={"batch_size": 8, "ema": 0.0, "epochs": 1})


def _data(count: int = 40) -> tuple[Dataset, np.ndarray]:
    data = tiny.dataset(np.arange(count) % 2)
    splits = ["val" if row % 5 == 0 else "train" for row in range(count)]
    return Dataset(**{**vars(data), "splits": splits}), np.arange(count) >= count // 2


def _start(recipe: Recipe, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    model = build_model("test_efficientnet", 2, recipe.preprocess)
    card = ModelCard(backbone="test_efficientnet", task=recipe.task, preprocess=recipe.preprocess, role="teacher",
                     weights_from="here")  # fmt: skip
    return Checkpoint(model.eval(), card)


@pytest.mark.parametrize(
    ("old", "fresh", "share", "times"), [(100, 20, 0.5, 5), (100, 20, 0.2, 1), (1000, 10, 0.5, 10)]
)
def test_rehearsal_shows_new_images_as_often_as_their_share_asks(
    old: int, fresh: int, share: float, times: int
) -> None:
    chosen, new = np.arange(old + fresh) + 7, np.arange(old + fresh) >= old
    shown = rehearsed(chosen, new, share)
    counts = np.bincount(shown, minlength=old + fresh + 7)[7:]
    assert (counts[:old] == 1).all()
    assert (counts[old:] == times).all()
    assert times <= MOST_REPEATS


def test_without_old_or_new_images_nothing_is_repeated() -> None:
    chosen = np.arange(10)
    assert rehearsed(chosen, np.ones(10, bool), 0.5).tolist() == list(range(10))
    assert rehearsed(chosen, np.zeros(10, bool), 0.5).tolist() == list(range(10))


def _moved(before: nn.Module, after: nn.Module) -> float:
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return sum(float(((one - two) ** 2).sum().detach()) for one, two in pairs)


@pytest.mark.parametrize("method", ["rehearsal", "distil", "naive", "ewc"])
def test_each_method_learns_on_from_the_teacher(method: str) -> None:
    recipe = _recipe(method=method)
    data, new = _data()
    start = _start(recipe)
    before = copy.deepcopy(start.model)
    model, outcome = learn(recipe, start, data.subset("train"), data, new)
    assert 0 < _moved(before, model) < 10
    assert {line["phase"] for line in outcome.history} == {"update"}


def test_a_heavy_anchor_holds_the_weights() -> None:
    data, new = _data()
    moved = {}
    for weight in (0.0, 1e6):
        recipe = _recipe(method="ewc", ewc_weight=weight)
        start = _start(recipe)
        before = copy.deepcopy(start.model)
        model, _ = learn(recipe, start, data.subset("train"), data, new)
        information = fisher(before, data.subset("train"), recipe.task, recipe.preprocess, 0)
        pairs = zip(before.named_parameters(), model.parameters(), strict=True)
        moved[weight] = sum(float((information[name] * (one - two) ** 2).sum()) for (name, one), two in pairs)
    assert moved[1e6] < 0.5 * moved[0.0]


def test_the_information_is_the_mean_squared_gradient_of_single_images() -> None:
    recipe = _recipe()
    data, _ = _data(6)
    model = _start(recipe).model
    found = fisher(copy.deepcopy(model), data, recipe.task, recipe.preprocess, 0)
    from edgedx.core.preprocess import normalise

    name = next(name for name, value in model.named_parameters() if value.shape == (2,))  # the classifier's bias
    images = torch.from_numpy(normalise(np.asarray(data.canvases), recipe.preprocess))
    chance = torch.softmax(model(images), dim=1).detach()
    wanted = ((chance - nn.functional.one_hot(torch.from_numpy(data.labels), 2)) ** 2).mean(dim=0)
    assert torch.allclose(found[name], wanted, atol=1e-5)


def test_at_the_anchor_the_penalty_is_nothing_and_beside_it_half_the_weighted_square() -> None:
    recipe = _recipe()
    model = nn.Linear(3, 2)
    information = {name: torch.full_like(value, 2.0) for name, value in model.named_parameters()}
    labels = Classify(recipe.task)
    images, targets = torch.zeros(4, 3), nn.functional.one_hot(torch.tensor([0, 1, 0, 1]), 2).float()
    elastic = Elastic(labels, anchor_of(model), information, weight=10.0)
    plain = labels(model, images, targets)[0]
    assert torch.allclose(elastic(model, images, targets)[0], plain)
    with torch.no_grad():
        model.weight += 0.1
    assert torch.allclose(elastic(model, images, targets)[0], labels(model, images, targets)[0] + 5 * 2 * 6 * 0.01)
