"""Losses agree with torch's own; unknown labels play no part."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from edgedx.core.errors import RecipeError
from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.feed.targets import class_shares, class_weights, targets_of
from edgedx.lab.train.tasks import Classify

THREE = Task(**tiny.THREE)
FINDINGS = Task(**tiny.FINDINGS)
WEIGHTS = np.array([0.5, 1.0, 3.0], np.float32)


def _batch(count: int = 16, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and class indices."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, classes, generator=generator), torch.randint(0, classes, (count,), generator=generator)


class Net(nn.Module):
    """Dropout makes train mode visible."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _images(count: int = 16) -> Tensor:
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def _hard(labels: Tensor) -> Tensor:
    return torch.from_numpy(targets_of(labels.numpy(), THREE))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_the_loss_on_hard_labels_is_torchs_cross_entropy(weights: np.ndarray | None, smoothing: float) -> None:
    logits, labels = _batch()
    own = Classify(THREE, weights, smoothing).loss(logits, _hard(labels))
    weight = None if weights is None else torch.from_numpy(weights)
    torch.testing.assert_close(own, F.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing))


def test_the_loss_on_mixed_labels_is_the_mix_of_the_losses() -> None:
    logits, labels = _batch()
    one, two = _hard(labels), _hard(labels.flip(0))
    task = Classify(THREE)
    torch.testing.assert_close(
        task.loss(logits, 0.3 * one + 0.7 * two), 0.3 * task.loss(logits, one) + 0.7 * task.loss(logits, two)
    )


def test_the_loss_of_several_findings_is_torchs_binary_cross_entropy() -> None:
    logits, _ = _batch(classes=2)
    targets = (torch.rand(16, 2, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    weights = np.array([2.0, 7.0], np.float32)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.from_numpy(weights))
    torch.testing.assert_close(Classify(FINDINGS, weights).loss(logits, targets), expected)


def test_unknown_labels_play_no_part_in_loss_or_gradient() -> None:
    logits, _ = _batch(classes=2)
    logits.requires_grad_()
    targets = (torch.rand(16, 2, generator=torch.Generator().manual_seed(2)) < 0.4).float()
    unknown = torch.rand(16, 2, generator=torch.Generator().manual_seed(3)) < 0.5
    loss = Classify(FINDINGS).loss(logits, targets.masked_fill(unknown, torch.nan))
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits[~unknown], targets[~unknown]))
    loss.backward()
    assert (logits.grad[unknown] == 0).all() and (logits.grad[~unknown] != 0).all()  # type: ignore[index]


def test_a_batch_of_unknown_labels_costs_nothing() -> None:
    logits, _ = _batch(classes=2)
    assert Classify(FINDINGS).loss(logits, torch.full((16, 2), torch.nan)) == 0


def test_balanced_softmax_learns_what_evenly_drawn_classes_would_teach() -> None:
    """Ren et al. 2020: cross-entropy of logits + log share; the network itself is left without the prior."""
    logits, labels = _batch()
    shares = np.array([0.7, 0.2, 0.1], np.float32)
    own = Classify(THREE, prior=shares).loss(logits, _hard(labels))
    torch.testing.assert_close(own, F.cross_entropy(logits + torch.from_numpy(np.log(shares)), labels))
    rare, frequent = (Classify(THREE, prior=shares).loss(torch.zeros(1, 3), _hard(torch.tensor([k]))) for k in (2, 0))
    assert rare > frequent  # a call for a rare class must be stronger to cost as little
    data = tiny.dataset(np.repeat([0, 1, 2], [7, 2, 1]))
    np.testing.assert_allclose(class_shares(data, THREE), shares, rtol=1e-6)
    assert (class_shares(tiny.dataset(np.array([0, 0, 1])), THREE) > 0).all()


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_is_that_of_its_paper(gamma: float) -> None:
    logits, labels = _batch()
    of_truth = torch.softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    expected = (-((1 - of_truth) ** gamma) * of_truth.log()).mean()
    torch.testing.assert_close(Classify(THREE, focal=gamma).loss(logits, _hard(labels)), expected)
    findings, targets = _batch(classes=2)[0], (torch.arange(32).view(16, 2) % 3 == 0).float()
    p = torch.where(targets == 1, torch.sigmoid(findings), 1 - torch.sigmoid(findings))
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    torch.testing.assert_close(Classify(FINDINGS, focal=gamma).loss(findings, targets), expected)


def test_a_recipe_says_how_labels_are_learned() -> None:
    data = tiny.dataset(np.repeat([0, 1, 2], [7, 2, 1]))
    options = {"imbalance": "balanced-softmax", "focal": 1.5, "label_smoothing": 0.2}
    task = Classify.of(tiny.recipe(task=tiny.THREE, train=options), data)
    assert task.weights is None and task.shift is not None and (task.focal, task.smoothing) == (1.5, 0.2)
    plain = Classify.of(tiny.recipe(task=tiny.THREE), data)
    assert plain.weights is not None and plain.shift is None and plain.focal == 0
    with pytest.raises(RecipeError, match="balanced-softmax"):
        tiny.recipe(task=tiny.FINDINGS, train=options)


def test_labels_become_one_hot_and_findings_stay() -> None:
    assert targets_of(np.array([2, 0]), THREE).tolist() == [[0, 0, 1], [1, 0, 0]]
    findings = np.array([[1.0, np.nan], [0.0, 1.0]])
    np.testing.assert_array_equal(targets_of(findings, FINDINGS), findings.astype(np.float32))


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(tiny.dataset(labels, side=8), THREE), expected, rtol=1e-6)


def test_findings_weigh_negatives_by_positives_up_to_twenty() -> None:
    labels = np.zeros((200, 2))
    labels[:40, 0], labels[40:80, 0], labels[:2, 1] = 1, np.nan, 1
    np.testing.assert_allclose(class_weights(tiny.dataset(labels, side=8), FINDINGS), [120 / 40, 20])


def test_a_class_without_an_image_has_a_finite_weight() -> None:
    assert np.isfinite(class_weights(tiny.dataset(np.zeros(10, int), side=8), THREE)).all()


def test_classify_returns_the_loss_of_its_own_logits() -> None:
    model, (_, labels) = Net().eval(), _batch()
    loss, logits = Classify(THREE)(model, _images(), _hard(labels))
    torch.testing.assert_close(loss, F.cross_entropy(model(_images()), labels))
    assert logits.shape == (16, 3)
