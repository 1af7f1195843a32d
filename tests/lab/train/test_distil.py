"""Distillation follows the papers, leaves the teacher alone, and does without labels where there are none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_sections import Student, Task
from edgedx.lab.network.backbone import TESTED, build_model, classifier
from edgedx.lab.train.contrast import SHARPNESS, Contrast
from edgedx.lab.train.distil import Distil, contrast_for, decoupled, method_for, with_pooled
from edgedx.lab.train.tasks import Classify

TWO = Task(kind="binary", classes=["a", "b"], positive="b")
THREE = Task(**tiny.THREE)
FINDINGS = Task(**tiny.FINDINGS)
SPEC = PreprocessSpec(size=(96, 96))


class Net(nn.Module):
    """Dropout makes train mode visible; the last layer is found as in a timm model."""

    def __init__(self, classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def get_classifier(self) -> nn.Module:
        return self.head


def _images(count: int = 16) -> Tensor:
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(1))


def _distil(weight: float = 1.0, classes: int = 3, **more: object) -> Distil:
    torch.manual_seed(0)
    task = THREE if classes == 3 else FINDINGS
    return Distil(Net(classes), Classify(task), temperature=4.0, weight=weight, **more)  # type: ignore[arg-type]


def _targets(classes: int = 3, count: int = 16) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


def _pair(classes: int = 5, count: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of student and teacher, and targets."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = (3 * torch.randn(count, classes, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(0, classes, (count,), generator=generator)


# Plain distillation


def test_the_hint_is_hintons() -> None:
    task, student = _distil(), Net().eval()
    loss, logits = task(student, _images(), _targets())
    soft, guide = (torch.softmax(model(_images()) / 4, dim=1) for model in (student, task.teacher))
    expected = 16 * (guide * (guide.log() - soft.log())).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, student(_images()))


@pytest.mark.parametrize("method", ["kd", "dkd"])
@pytest.mark.parametrize("classes", [3, 2], ids=["softmax", "findings"])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it(classes: int, method: str) -> None:
    if classes == 2 and method == "dkd":
        with pytest.raises(ValueError, match="multilabel"):
            _distil(classes=2, method="dkd")
        return
    task = _distil(classes=classes, method=method)
    student = copy.deepcopy(task.teacher).requires_grad_(True)
    loss, _ = task(student, _images(), _targets(classes))
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in student.parameters() if p.grad is not None) < 1e-5
    if classes == 3:
        assert float(loss.detach()) == pytest.approx(0, abs=1e-5)


def test_weight_shares_the_loss_between_teacher_and_labels() -> None:
    student = Net().eval()
    whole, none, part = (
        float(_distil(weight)(student, _images(), _targets())[0].detach()) for weight in (1.0, 0.0, 0.25)
    )
    assert part == pytest.approx(0.25 * whole + 0.75 * none)
    assert none == pytest.approx(float(F.cross_entropy(student(_images()), _targets()).detach()), rel=1e-5)


@pytest.mark.parametrize("contrast", [False, True])
def test_the_gradient_does_not_reach_the_teacher(contrast: bool) -> None:
    task, student = _distil(0.5, contrast=Contrast(8, 8, 3, 32) if contrast else None), Net().train()
    before = copy.deepcopy(task.teacher.state_dict())
    loss, _ = task(student, _images(), _targets())
    loss.backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in task.teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(torch.equal(value, before[key]) for key, value in task.teacher.state_dict().items())


def test_the_teacher_is_asked_in_eval_mode_while_the_student_trains() -> None:
    task = _distil()
    student = Net().train()
    assert not task.teacher.training
    task(student, _images(), _targets())
    assert student.training and not task.teacher.training


# Images without labels


@pytest.mark.parametrize("classes", [3, 2], ids=["softmax", "findings"])
def test_an_image_without_a_label_is_learned_from_the_teacher_alone(classes: int) -> None:
    student, targets = Net(classes).eval(), _targets(classes)
    targets[8:] = torch.nan
    whole = _distil(0.9, classes)(student, _images(), targets)[0]
    hint = _distil(1.0, classes)(student, _images(), targets)[0]
    task = THREE if classes == 3 else FINDINGS
    labels = Classify(task).loss(student(_images()[:8]), targets[:8])
    torch.testing.assert_close(whole, 0.9 * hint + 0.1 * labels)


@pytest.mark.parametrize("method", ["kd", "dkd"])
def test_a_batch_without_any_label_trains(method: str) -> None:
    student = Net().train()
    loss, _ = _distil(0.9, method=method)(student, _images(), torch.full((16, 3), torch.nan))
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in student.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["kd", "dkd"])
def test_images_weigh_in_the_hint_what_their_class_weighs_in_the_labels_loss(method: str) -> None:
    weights = np.array([0.5, 1.0, 3.0], np.float32)
    plain, student, targets = _distil(method=method), Net().eval(), _targets()
    torch.manual_seed(0)
    labels = Classify(THREE, weights)
    task = Distil(Net(), labels, temperature=4.0, weight=1.0, method=method)
    each = torch.stack([plain(student, _images()[i : i + 1], targets[i : i + 1])[0] for i in range(16)])
    shares = torch.from_numpy(weights)[targets.argmax(1)]
    torch.testing.assert_close(task(student, _images(), targets)[0], (each * shares).sum() / shares.sum())
    targets[4:] = torch.nan  # without a label, the class is as likely as the teacher says
    shares = torch.cat([shares[:4], torch.softmax(task.teacher(_images()[4:]), 1) @ torch.from_numpy(weights)])
    if method == "kd":
        torch.testing.assert_close(task(student, _images(), targets)[0], (each * shares).sum() / shares.sum())


# Decoupled


def _official_dkd(student: Tensor, teacher: Tensor, target: Tensor, alpha: float, beta: float, t: float) -> Tensor:
    """As Zhao et al. publish it (megvii-research/mdistiller, DKD.py), with its 1000 for infinity."""
    own = torch.zeros_like(student).scatter_(1, target[:, None], 1).bool()

    def two(chance: Tensor) -> Tensor:
        return torch.cat([(chance * own).sum(1, keepdim=True), (chance * ~own).sum(1, keepdim=True)], dim=1)

    one, other = two(F.softmax(student / t, 1)), two(F.softmax(teacher / t, 1))
    first = F.kl_div(torch.log(one), other, reduction="sum") * t**2 / len(target)
    rest = F.log_softmax(student / t - 1000.0 * own, 1)
    second = F.kl_div(rest, F.softmax(teacher / t - 1000.0 * own, 1), reduction="sum") * t**2 / len(target)
    return alpha * first + beta * second


def test_decoupled_distillation_is_that_of_its_authors() -> None:
    student, teacher, target = _pair()
    expected = _official_dkd(student, teacher, target, 1.0, 8.0, 4.0)
    torch.testing.assert_close(decoupled(student, teacher, target, 4.0, 1.0, 8.0).mean(), expected)


def test_both_terms_add_up_to_plain_distillation() -> None:
    student, teacher, target = _pair(count=1)
    left = 1 - torch.softmax(teacher / 4, 1)[0, target[0]]  # what the teacher leaves for the other classes
    kd = 16 * F.kl_div(F.log_softmax(student / 4, 1), F.log_softmax(teacher / 4, 1), log_target=True, reduction="sum")
    torch.testing.assert_close(decoupled(student, teacher, target, 4.0, 1.0, float(left)).mean(), kd)


def test_the_second_term_vanishes_with_two_classes() -> None:
    student, teacher, target = _pair(classes=2)
    assert float(decoupled(student, teacher, target, 4.0, 0.0, 8.0).abs().max()) == pytest.approx(0, abs=1e-6)


def test_two_classes_and_findings_fall_back_to_plain_and_say_so() -> None:
    options = Student(method="dkd")
    assert method_for(THREE, options) == ("dkd", "")
    for task in (TWO, FINDINGS):
        method, said = method_for(task, options)
        assert method == "kd" and "plain KD" in said
        assert method_for(task, Student()) == ("kd", "")


def test_the_target_is_the_greater_share_of_a_mixed_label_and_the_teachers_answer_without_one() -> None:
    task, student = _distil(method="dkd"), Net().eval()
    targets = torch.tensor([[0.3, 0.0, 0.7]] * 8 + [[torch.nan] * 3] * 8)
    guide = task.teacher(_images())
    target = torch.cat([torch.full((8,), 2), guide[8:].argmax(1)])
    expected = _official_dkd(student(_images()), guide, target, 1.0, 8.0, 4.0)
    torch.testing.assert_close(task(student, _images(), targets)[0], expected)


def test_decoupled_distillation_rises_over_its_warm_up() -> None:
    task, student = _distil(method="dkd", warmup=4), Net().train()
    student.body[3].p = 0.0  # type: ignore[union-attr]
    losses = [float(task(student, _images(), _targets())[0].detach()) for _ in range(6)]
    np.testing.assert_allclose(losses, np.array([0.25, 0.5, 0.75, 1, 1, 1]) * losses[-1], rtol=1e-5)
    student.eval()  # ranking channels is no training
    assert float(task(student, _images(), _targets())[0].detach()) == pytest.approx(losses[-1])
    assert task.auxiliary is not None and int(task.auxiliary.steps) == 6


# Features


def test_the_contrastive_loss_is_infonce_against_images_that_the_teacher_decides_otherwise() -> None:
    torch.manual_seed(0)
    contrast = Contrast(5, 7, 3, memory=0)
    student, teacher = torch.randn(6, 5), torch.randn(6, 7)
    classes = torch.tensor([0, 0, 1, 1, 2, 0])
    loss = contrast(student, teacher, F.one_hot(classes, 3).bool())
    mine = F.normalize(contrast.student_head(student), dim=1)
    theirs = F.normalize(contrast.teacher_head(teacher), dim=1)
    terms = []
    for i in range(6):
        others = [j for j in range(6) if classes[j] != classes[i]]
        scores = torch.stack([mine[i] @ theirs[j] for j in [i, *others]]) * SHARPNESS
        terms.append(torch.logsumexp(scores, 0) - scores[0])
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_a_batch_that_the_teacher_decides_alike_has_no_negatives_and_costs_nothing() -> None:
    contrast = Contrast(5, 7, 3, memory=16)
    student = torch.randn(4, 5, requires_grad=True)
    loss = contrast(student, torch.randn(4, 7), torch.tensor([[True, False, False]] * 4))
    loss.backward()
    assert float(loss.detach()) == 0 and (student.grad == 0).all()  # type: ignore[union-attr]


def test_the_queue_keeps_the_newest_embeddings_and_they_act_as_negatives() -> None:
    torch.manual_seed(0)
    contrast = Contrast(5, 7, 3, memory=8)
    first = torch.eye(3).bool()[torch.tensor([0, 1, 2, 0, 1])]
    batches = [torch.randn(5, 7) for _ in range(3)]
    for batch in batches:
        contrast(torch.randn(5, 5), batch, first)
    expected = F.normalize(contrast.teacher_head(torch.cat(batches)), dim=1)
    assert int(contrast.seen) == 15
    for number in range(7, 15):  # the last eight, at their places of the ring
        torch.testing.assert_close(contrast.memory[number % 8], expected[number])
    alone = copy.deepcopy(contrast)
    alone.seen.zero_()  # an empty queue
    student, teacher = torch.randn(5, 5), torch.randn(5, 7)
    assert float(contrast(student, teacher, first).detach()) > float(alone(student, teacher, first).detach())


def test_a_batch_larger_than_the_queue_is_no_error() -> None:
    contrast = Contrast(5, 7, 3, memory=4)
    contrast(torch.randn(9, 5), torch.randn(9, 7), torch.eye(3).bool()[torch.arange(9) % 3])
    assert int(contrast.seen) == 4


def test_features_are_learned_beside_the_answers() -> None:
    contrast = Contrast(8, 8, 3, 0)
    student = Net().eval()
    with_features = _distil(0.9, contrast=contrast, contrast_weight=0.5)
    plain = _distil(0.9)(student, _images(), _targets())[0]
    features = [with_pooled(model, _images())[1] for model in (student, with_features.teacher)]
    decisions = F.one_hot(with_features.teacher(_images()).argmax(1), 3).bool()
    expected = plain + 0.5 * contrast(*features, decisions)
    torch.testing.assert_close(with_features(student, _images(), _targets())[0], expected)


@pytest.mark.parametrize("backbone", [name for name in TESTED if name not in {"vgg16", "inception_v3"}])
def test_pooled_features_are_what_the_classifier_gets_and_no_hook_stays(backbone: str) -> None:
    model = build_model(backbone, 3, SPEC)
    images = torch.randn(2, *SPEC.input_shape)
    with torch.no_grad():
        logits, features = with_pooled(model, images)
        torch.testing.assert_close(classifier(model)(features), logits)
        torch.testing.assert_close(model(images), logits)
    assert features.ndim == 2 and not classifier(model)._forward_pre_hooks


def test_heads_fit_both_networks_and_are_the_same_for_the_same_seed() -> None:
    student, teacher = Net(width=6), Net(width=9)
    one, two, other = (contrast_for(student, teacher, 3, 16, seed) for seed in (5, 5, 6))
    assert one.student_head.in_features == 6 and one.teacher_head.in_features == 9
    assert torch.equal(one.student_head.weight, two.student_head.weight)
    assert not torch.equal(one.student_head.weight, other.student_head.weight)
