"""Heat maps: what each method must find on models whose reasons are known, and what figures of them must say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import SPEC as LARGER
from scipy.stats import spearmanr
from torch import nn
from toy import QUADRANT, SPEC, Box, Net, of_torch, planted, spotted, subject

from edgedx.core.errors import DependencyMissing, UsageError
from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.core.settings.recipe_sections import Student, Task
from edgedx.core.stats.metrics import Interval
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.compress.prune import prune
from edgedx.lab.evidence.explain import methods as explain_methods
from edgedx.lab.evidence.explain.curves import curves, random_maps
from edgedx.lab.evidence.explain.cut import Cut, cascade
from edgedx.lab.evidence.explain.explain import CONTROL, explain, parts_of
from edgedx.lab.evidence.explain.fidelity import CHANCE, alike, means, on_grid, overlap, spearman
from edgedx.lab.evidence.explain.files import sentences, to_dict
from edgedx.lab.evidence.explain.images import ExplainedImages, _draw
from edgedx.lab.evidence.explain.methods import NoMap, absent, heat_maps, places_of, require, superpixels
from edgedx.lab.evidence.explain.models import Explainable, classes_to_explain
from edgedx.lab.evidence.explain.pictures import is_empty
from edgedx.lab.evidence.explain.sanity import Sanity, check, ssim
from edgedx.lab.network.backbone import TESTED, build_model
from edgedx.lab.quantize.cam import add_cam
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.train.tasks import Classify

CANVASES = spotted(5)
CLASSES = np.array([1, 0, 1, 1, 0])
QUICK = ("mobilenetv2_100",)


def test_integrated_gradients_add_up_to_what_the_answer_gains_over_the_blurred_image() -> None:
    """Completeness (Sundararajan et al. 2017), the axiom that names the method."""
    model = of_torch(Net(classes=3), "multiclass", 3)
    maps = heat_maps(model, "ig", CANVASES, CLASSES)
    gained = model.margins(CANVASES) - model.margins(absent(CANVASES))
    expected = gained[np.arange(5), CLASSES]
    assert np.abs(expected).min() > 0.01
    assert np.abs(maps.sum(axis=(1, 2)) - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_grad_cam_is_the_positive_part_of_the_class_activation_map_where_the_head_pools(task: str) -> None:
    model = of_torch(Net(classes=3), task, 3)
    exact = explain_methods._cam(model, CANVASES, CLASSES)
    by_gradients = explain_methods._gradcam(model, CANVASES, CLASSES)
    assert exact.shape == (5, 8, 8) and exact.min() < 0 < exact.max()
    # A gradient of the mean over 64 places is a 64th of the weight.
    assert np.allclose(64 * by_gradients, exact.clip(0), atol=1e-5)
    # The same sum as the answer, in another order, less the bias.
    images = torch.from_numpy(normalise(CANVASES, model.subject.preprocess))
    weights, features = model.cut.model.fc.weight, model.cut.features(images)
    logits = (features.mean(dim=(2, 3)) @ weights.T).detach().numpy()
    margins = logits if task == "multilabel" else logits - logits.mean(axis=1, keepdims=True)
    assert np.allclose(exact.mean(axis=(1, 2)), margins[np.arange(5), CLASSES], atol=1e-5)


def test_grad_cam_plus_plus_weighs_channels_as_its_paper_says() -> None:
    """Equation 19 of Chattopadhay et al. 2018, image by image; the library takes them together."""
    model = of_torch(Net())
    found = heat_maps(model, "gradcam++", CANVASES, CLASSES)
    for canvas, one, heat in zip(CANVASES, CLASSES, found, strict=True):
        maps = model.cut.features(torch.from_numpy(normalise(canvas[None], model.subject.preprocess))).detach()
        maps.requires_grad_()
        (slope,) = torch.autograd.grad(model.cut.head(maps)[0, int(one)], maps)
        maps, slope = maps.detach()[0].double(), slope[0].double()
        below = 2 * slope**2 + maps.sum(dim=(1, 2), keepdim=True) * slope**3 + 1e-6
        weights = (slope**2 / below * slope.clamp(min=0)).sum(dim=(1, 2))
        expected = (weights[:, None, None] * maps).sum(dim=0).clamp(min=0).numpy()
        # The library scales the map to 0 and 1.
        expected = explain_methods._enlarged((expected - expected.min()) / np.ptp(expected), (32, 32))
        assert np.abs(expected - heat).max() < 1e-3


def test_lime_finds_the_planted_region_of_a_black_box() -> None:
    canvases = spotted(3)
    maps = heat_maps(planted(), "lime", canvases, np.ones(3, int), seed=3)
    for canvas, heat in zip(canvases, maps, strict=True):
        rows, columns = np.nonzero(heat == heat.max())  # the strongest segment
        assert rows.mean() < 16 < columns.mean()
        outside = np.ones((32, 32), bool)
        outside[QUADRANT] = False
        for segment in np.unique(superpixels(canvas)):
            inside = superpixels(canvas) == segment
            if outside[inside].all():  # what the model never reads has next to no weight
                assert abs(heat[inside][0]) < 0.05 * heat.max()
    assert np.array_equal(maps, heat_maps(planted(), "lime", canvases, np.ones(3, int), seed=3))
    against = heat_maps(planted(), "lime", canvases, np.zeros(3, int), seed=3)
    assert np.allclose(against, -maps, atol=1e-5)  # of two classes, what speaks for one speaks against the other


def test_images_in_colour_and_of_16_bits_are_explained_too() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    colour[:, 16:, :16, 0] = 255

    def red(canvases: np.ndarray) -> np.ndarray:
        light = canvases[:, 16:, :16, 0].mean(axis=(1, 2)) / 64.0
        return np.stack([-light, light], axis=1)

    in_colour = SPEC.model_copy(update={"colour": "rgb", "mean": SPEC.mean * 3, "std": SPEC.std * 3})
    model, one = Explainable("red", replace(subject(red), preprocess=in_colour), Box(red)), np.ones(1, int)
    maps = heat_maps(model, "lime", colour, one)
    rows, columns = np.nonzero(maps[0] == maps[0].max())  # the strongest segment, which may be ragged
    assert columns.mean() < 16 < rows.mean()
    assert curves(model, colour, maps, one, advance=lambda _: None).deletion.shape == (1, 21)
    deep = spotted(2).astype(np.uint16) * 257
    assert np.array_equal(superpixels(deep[0]), superpixels(spotted(2)[0]))
    assert np.allclose(absent(deep), 257 * absent(spotted(2)), rtol=1e-4)


def test_a_method_that_a_model_cannot_be_asked_by_is_refused_and_not_replaced() -> None:
    for method in ("gradcam", "gradcam++", "ig"):
        with pytest.raises(NoMap, match="needs gradients"):
            heat_maps(planted(), method, CANVASES, CLASSES)
    with pytest.raises(NoMap, match="no class activation map"):
        heat_maps(planted(), "cam", CANVASES, CLASSES)

    class Late(Net):
        def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.tanh(maps.mean(dim=(2, 3))))

    late = of_torch(Late())
    with pytest.raises(NoMap, match="would be a guess"):
        heat_maps(late, "cam", 3 * CANVASES, CLASSES)
    assert heat_maps(late, "gradcam", CANVASES, CLASSES).shape == CANVASES.shape

    class Narrow(Net):
        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward_features(images).mean(dim=(2, 3), keepdim=True)

    with pytest.raises(NoMap, match="more than one place"):
        heat_maps(of_torch(Narrow()), "gradcam++", CANVASES, CLASSES)


def test_a_missing_library_is_named_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    with pytest.raises(DependencyMissing, match="LIME needs the package captum"):
        require(["cam", "lime"])
    require(["cam"])


def test_deletion_and_insertion_tell_the_map_that_knows_from_one_that_does_not() -> None:
    model, canvases, classes = planted(), spotted(6), np.ones(6, int)
    knows = np.zeros((6, 32, 32), np.float32)
    knows[:, 4:10, 20:27] = 1
    told = curves(model, canvases, knows, classes, advance=lambda _: None)
    blind = curves(model, canvases, random_maps(6, (32, 32), 0), classes, advance=lambda _: None)
    assert told.deletion.shape == told.insertion.shape == (6, 21)
    # Both begin and end at the same two images, the whole one and the blurred one.
    assert np.allclose(told.deletion[:, 0], told.insertion[:, -1])
    assert np.allclose(told.deletion[:, -1], told.insertion[:, 0])
    own, control = told.areas(), blind.areas()
    assert (own["deletion"] < control["deletion"]).all() and (own["insertion"] > control["insertion"]).all()
    assert np.array_equal(told.deletion, curves(model, canvases, knows, classes, advance=lambda _: None).deletion)
    # The area below a curve that is always 1 is 1.
    flat = curves(model, canvases, knows, classes, advance=lambda _: None)
    assert np.allclose(type(flat)(np.ones((2, 21)), np.zeros((2, 21))).areas()["deletion"], 1.0)


def test_a_map_is_wholly_like_itself_and_wholly_unlike_its_opposite() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 64, 48)).astype(np.float32)
    same, opposite = alike(maps, maps), alike(maps, -maps)
    assert all(np.allclose(value, 1.0) for value in same.values())
    assert np.allclose(opposite["spearman"], -1.0) and not opposite["shared"].any() and not opposite["iou"].any()
    assert on_grid(maps).shape == (4, 32, 32)


def test_rank_correlation_is_scipys_with_ties_and_unknown_for_flat_maps() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(3, 9, 7)).clip(0), rng.normal(size=(3, 9, 7)).clip(0)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(left, right, strict=True)]
    assert np.allclose(spearman(left, right), expected, atol=1e-12)
    left[1] = 0.0
    assert np.isnan(spearman(left, right)[1]) and np.isnan(overlap(left, right)[0][1])
    kept = means({"a": np.array([1.0, np.nan, 3.0])}, ["p", "q", "r"], resamples=50, seed=0)["a"]
    assert kept.value == 2.0 and 1.0 <= kept.low <= kept.high <= 3.0


def test_maps_without_relation_have_in_common_what_chance_gives() -> None:
    rng = np.random.default_rng(2)
    found = alike(rng.normal(size=(400, 32, 32)), rng.normal(size=(400, 32, 32)))
    for name, expected in CHANCE.items():
        error = found[name].std() / 20
        assert abs(found[name].mean() - expected) < 4 * error + 0.003, name


def test_ties_neither_fill_the_top_tenth_with_background_nor_leave_it_empty() -> None:
    """Grad-CAM is 0 over most of an image: a map with one warm place shares that place and not the cold ones."""
    one, other = np.zeros((1, 10, 10)), np.zeros((1, 10, 10))
    one[0, 2, 3] = other[0, 2, 3] = 1.0
    other[0, 7, 7] = 2.0
    shared, iou = overlap(one, other)
    assert shared[0] == 0.5 and iou[0] == 0.5


def test_the_cascade_takes_layers_from_the_head_down_and_leaves_the_network_alone() -> None:
    cut = of_torch(Net()).cut
    before = {key: value.clone() for key, value in cut.state_dict().items()}
    images = torch.from_numpy(normalise(spotted(16), subject(len).preprocess))  # type: ignore[arg-type]
    chance = torch.random.get_rng_state()
    changed = []
    for stage, copied in cascade(cut, images, seed=1):
        moved = {key.split(".")[1] for key, value in copied.state_dict().items()
                 if "weight" in key and not torch.equal(value, before[key])}  # fmt: skip
        changed.append((stage, moved))
        last = copied
    assert changed[0] == ("head", {"fc"}) and changed[-1][0] == "all"
    assert all(one[1] <= other[1] for one, other in zip(changed, changed[1:], strict=False))
    assert {"fc", "first", "second"} <= changed[-1][1]
    assert all(torch.equal(value, before[key]) for key, value in cut.state_dict().items())
    assert torch.equal(chance, torch.random.get_rng_state())
    # Statistics fit the random layers below: what leaves the normalisation has unit variance again.
    with torch.no_grad():
        out = last.model.norm(last.model.first(images))
    assert not last.training and 0.8 < float(out.var(dim=(0, 2, 3)).mean()) < 1.2


def test_random_weights_leave_little_of_the_maps_of_a_network_that_learned_something() -> None:
    net = Net(seed=4)
    canvases, labels = spotted(24), torch.arange(24) % 2
    canvases[::2, 4:10, 20:27] -= 180  # without the spot: the other class
    images = torch.from_numpy(normalise(canvases, subject(len).preprocess))  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    model = of_torch(net.eval())
    patients = [str(index) for index in range(12)]
    rows = slice(1, 24, 2)
    found = check(model, ["gradcam", "ig"], canvases[rows], np.ones(12, int), patients, resamples=100, seed=0,
                  advance=lambda _: None)  # fmt: skip
    for one in found:
        assert [name for name, _ in one.stages] == ["head", "last 25 %", "last 50 %", "last 75 %", "all"]
        assert one.stages[-1][1]["spearman"].value < 0.6 and one.stages[-1][1]["ssim"].value < 0.9
    trained = heat_maps(model, "gradcam", canvases[rows], np.ones(12, int))
    assert np.allclose(ssim(trained, trained), 1.0)
    assert (trained[:, :16, 16:].mean(axis=(1, 2)) > 2 * trained[:, 16:, :16].mean(axis=(1, 2))).all()


@pytest.mark.parametrize(("high", "passes"), [(0.3, True), (0.6, False)])
def test_the_verdict_is_on_the_end_of_the_interval(high: float, passes: bool) -> None:
    one = Sanity("teacher", "ig", [("all", {"spearman": Interval(0.2, 0.1, high)})])
    assert one.passes is passes and ("passes" if passes else "fails") in one.sentence


def test_the_class_is_the_decision_of_the_first_model_or_the_one_asked_for() -> None:
    from edgedx.core.stats.points import OperatingPoint

    model = planted()
    careful = replace(model.subject, points=[OperatingPoint(name="x", threshold={"c1": 0.2})])
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1]])
    assert classes_to_explain(model, probabilities, None).tolist() == [0, 0]
    assert classes_to_explain(replace(model, subject=careful), probabilities, None).tolist() == [1, 0]
    assert classes_to_explain(model, probabilities, "c1").tolist() == [1, 1]
    many = replace(model, subject=subject(len, "multilabel", 3))  # type: ignore[arg-type]
    assert classes_to_explain(many, np.array([[0.6, 0.7, 0.2], [0.3, 0.1, 0.2]]), None).tolist() == [1, 0]


def test_images_come_in_an_order_by_lot_so_that_the_first_few_are_of_every_class() -> None:
    rows = _draw(100, 200, seed=0)
    assert sorted(rows) == list(range(100)) and 2 < (rows[:16] < 50).sum() < 14
    assert np.array_equal(rows, _draw(100, 100, seed=0)) and len(set(_draw(100, 7, seed=1))) == 7


def test_all_of_it_says_what_is_shown_and_what_is_not() -> None:
    """Two models of which one is the other: as alike as can be, and more than two images are."""
    model = planted().subject
    images = ExplainedImages([f"{n}.png" for n in range(6)], [f"p{n}" for n in range(6)], _moving(6), [""] * 6, "test")
    found = explain([model, model], images, ["lime", "ig"], resamples=100)
    assert found.names == ["toy (1)", "toy (2)"]
    told = to_dict(found, [])
    (one,) = told["fidelity"]
    assert one["model"] == "toy (2)" and one["spearman"]["value"] == one["iou"]["value"] == 1.0
    assert one["above_other_image"]["low"] > 0 and one["baselines"]["other_image"]["spearman"]["value"] < 0.9
    assert "needs gradients" in told["models"][0]["not_available"]["ig"]
    assert {line["method"] for line in told["curves"]} == {"lime", CONTROL} and told["sanity"] == []
    gains = {line["method"]: line["insertion_gain"] for line in told["curves"]}
    assert gains["lime"]["low"] > 0 and gains[CONTROL] is None
    assert "more than toy (1) does on another image" in sentences(found)[0]
    with pytest.raises(UsageError, match="no map can be made"):
        explain([model], images, ["ig"])
    with pytest.raises(UsageError, match="no class 'c7'"):
        explain([model], images, ["lime"], wanted="c7")


def _moving(count: int) -> np.ndarray:
    """The spot of `spotted`, elsewhere in the quadrant on each image."""
    canvases = np.random.default_rng(5).integers(20, 60, (count, 32, 32)).astype(np.uint8)
    for place, canvas in enumerate(canvases):
        row, column = divmod(place, 2)
        canvas[1 + 5 * row : 6 + 5 * row, 17 + 8 * column : 23 + 8 * column] += 180
    return canvases


BACKBONES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TESTED]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_tested_backbone_has_a_last_feature_map_that_gradients_reach(backbone: str) -> None:
    torch.manual_seed(0)
    # Of 96 pixels inception_v3 makes a map of one place.
    spec = PreprocessSpec(size=(160, 160), window="none", bits=8) if backbone == "inception_v3" else LARGER
    model = build_model(backbone, 2, spec)
    cut = Cut(model, "binary", spec.input_shape).eval()
    canvases = np.random.default_rng(0).integers(0, 256, (2, *spec.size)).astype(np.uint8)
    images = torch.from_numpy(normalise(canvases, spec))
    with torch.no_grad():
        assert torch.allclose(cut(images)[:, 1], (model(images)[:, 1] - model(images)[:, 0]) / 2, atol=1e-5)
    base = planted()
    one = replace(base, subject=replace(base.subject, preprocess=spec), cut=cut)
    assert min(cut.places) > 1
    for method in ("gradcam", "gradcam++"):
        maps = heat_maps(one, method, canvases, np.array([0, 1]))
        assert maps.shape == (2, *spec.size) and np.isfinite(maps).all() and maps.min() >= 0


@pytest.mark.slow
def test_the_map_of_a_checkpoint_is_the_one_that_its_graph_gives_out() -> None:
    torch.manual_seed(0)
    model = build_model("mobilenetv2_100", 3, LARGER)
    canvases = np.random.default_rng(0).integers(0, 256, (3, *LARGER.size)).astype(np.uint8)
    graph = add_cam(export_onnx(model, LARGER), normalise(canvases, LARGER))
    base = subject(len, "multiclass", 3)  # type: ignore[arg-type]
    with OnnxRunner(graph) as runner:
        told = replace(base, preprocess=LARGER, runner=runner)
        shipped = heat_maps(Explainable("graph", told, runner), "cam", canvases, np.array([0, 1, 2]))  # type: ignore[arg-type]
    cut = Cut(model, "multiclass", LARGER.input_shape).eval()
    trained = heat_maps(Explainable("net", told, runner, cut), "cam", canvases, np.array([0, 1, 2]))  # type: ignore[arg-type]
    assert np.abs(shipped - trained).max() < 1e-4 * np.abs(trained).max()


@pytest.mark.slow
def test_a_pruned_student_is_explained_as_it_is() -> None:
    torch.manual_seed(0)
    model = build_model("mobilenetv2_100", 2, LARGER)
    batch = (torch.randn(4, *LARGER.input_shape), torch.eye(2)[[0, 1, 0, 1]])
    options = Student(macs=0.5, steps=2, recovery_epochs=0.0)
    task = Classify(Task(kind="binary", classes=["a", "b"], positive="b"))
    prune(model, LARGER, options, task, lambda step: [batch], lambda step: None)
    base = planted()
    cut = Cut(model, "binary", LARGER.input_shape).eval()
    one = replace(base, subject=replace(base.subject, preprocess=LARGER), cut=cut)
    canvases = np.random.default_rng(0).integers(0, 256, (2, *LARGER.size)).astype(np.uint8)
    for method in ("gradcam", "cam", "ig"):
        assert np.isfinite(heat_maps(one, method, canvases, np.array([0, 1]))).all()
    assert len(list(cascade(cut, batch[0], 0))) == 5


def test_a_map_of_few_places_stays_the_squares_that_it_is() -> None:
    """At 64 pixels the last feature map has 2 x 2 places: smoothed, it showed a spot between them."""
    torch.manual_seed(0)
    spec = PreprocessSpec(size=(64, 64), window="none", bits=8)
    model = build_model("mobilenetv2_100", 2, spec)
    canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    base = planted()
    one = replace(
        base, subject=replace(base.subject, preprocess=spec), cut=Cut(model, "binary", spec.input_shape).eval()
    )
    for method in ("gradcam", "gradcam++", "cam"):
        assert places_of(one, method, canvases) == (2, 2)
        maps = heat_maps(one, method, canvases, np.array([0, 1]))
        squares = maps.reshape(2, 2, 32, 2, 32).transpose(0, 1, 3, 2, 4).reshape(8, -1)
        assert (squares == squares[:, :1]).all() and len(np.unique(squares)) > 2, method
    assert places_of(one, "ig", canvases) is None


def test_an_empty_map_is_told_from_one_that_is_the_image() -> None:
    assert is_empty(np.zeros((8, 8))) and is_empty(np.full((8, 8), -1.0)) and not is_empty(np.eye(8))


def test_what_was_stopped_goes_on_and_another_image_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(planted().subject, path=tmp_path / "model")
    (tmp_path / "model").write_text("weights")
    images = ExplainedImages([f"{n}.png" for n in range(6)], [f"p{n}" for n in range(6)], _moving(6), [""] * 6, "test")

    def run(chosen: ExplainedImages, most: int) -> tuple[dict[str, Any], int]:
        calls: list[int] = []

        def counted(self: Explainable, canvases: np.ndarray) -> np.ndarray:
            calls.append(len(canvases))
            if len(calls) > most:
                raise KeyboardInterrupt
            return real(self, canvases)

        with monkeypatch.context() as patch:
            patch.setattr(Explainable, "margins", counted)
            parts = parts_of(tmp_path / "out", [model, model], chosen, wanted=None, seed=0, device="cpu")
            return to_dict(explain([model, model], chosen, ["lime"], resamples=100, parts=parts), []), len(calls)

    real = Explainable.margins
    whole = to_dict(explain([model, model], images, ["lime"], resamples=100), [])
    with pytest.raises(KeyboardInterrupt):
        run(images, 30)
    resumed, calls = run(images, 10_000)
    again, none = run(images, 0)
    assert resumed["fidelity"] == again["fidelity"] == whole["fidelity"] and calls > 0 == none
    other = replace(images, canvases=images.canvases[::-1].copy())
    assert run(other, 10_000)[1] > calls
