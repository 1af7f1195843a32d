"""Calibration to training: what each step is for, when it runs, what it may cost, and that a kill costs nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quantizing
import torch

from edgedx.core.errors import GateRefused
from edgedx.core.preprocess import normalise
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.predict import predict
from edgedx.lab.network import checkpoint as checkpoints
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.quantize.bias_correction import correct_biases
from edgedx.lab.quantize.calibrate import Histogram, Observed, observe
from edgedx.lab.quantize.graph_torch import GraphModule
from edgedx.lab.quantize.int8 import NoiseBudget, make_int8
from edgedx.lab.quantize.kernels import check_fused
from edgedx.lab.quantize.onnx_graph import Graph, with_weights
from edgedx.lab.quantize.qdq import QuantizationPlan
from edgedx.lab.quantize.sensitivity import Bargain, by_value, exclude, sensitivities
from edgedx.lab.quantize.workbench import QuantizedModel, Workbench, noise_of, quantize
from edgedx.lab.run.card import ModelCard
from edgedx.lab.train.short_figures import auc_of_logits

TRAIN, VAL = quantizing.images(48), quantizing.images(24, start=700)


def broken() -> bytes:
    """The residual network with one input channel of layer two so large that the channel's other weights round to 0."""
    model = quantizing.residual()
    arrays = Graph(model).weights
    one, two = arrays["model.one.weight"].copy(), arrays["model.two.weight"].copy()
    one[0], two[:, 0] = one[0] / 300, two[:, 0] * 300
    bias = arrays["model.one.bias"].copy()
    bias[0] /= 300
    return with_weights(model, {"model.one.weight": one, "model.two.weight": two, "model.one.bias": bias})


def teacher() -> Checkpoint:
    torch.manual_seed(1)
    own = quantizing.recipe()
    card = ModelCard(
        backbone="test_efficientnet", task=own.task, preprocess=own.preprocess, role="teacher", weights_from="none"
    )
    return Checkpoint(quantizing.torch_backbone(), card)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(broken(), quantizing.recipe(), TRAIN, VAL, "trt")


# Calibration


def test_every_tensor_is_seen_with_its_ends_and_its_shape() -> None:
    model = quantizing.residual()
    found = observe(model, TRAIN, quantizing.SPEC)
    assert found.shapes["image"] == (1, 32, 32) and found.shapes["ar"] == (16, 32, 32)
    images = normalise(np.concatenate(list(TRAIN.batches(64))), quantizing.SPEC)
    assert (found.histograms["image"].low, found.histograms["image"].high) == (images.min(), images.max())
    assert found.histograms["sc"].low >= 0 and found.histograms["sc"].high <= 6


@pytest.mark.parametrize("calibrator", ["percentile", "mse"])
def test_a_lone_outlier_does_not_set_the_range(calibrator: Any) -> None:
    rng = np.random.default_rng(0)
    counts, edges = np.histogram(np.append(rng.normal(0, 1, 2_000_000), 60.0), bins=2048, range=(-5.0, 60.0))
    found = Observed({"x": Histogram(float(edges[0]), float(edges[-1]), counts)}, {})
    low, high = found.ranges(calibrator, 99.99, symmetric=False)["x"]
    assert 2.5 < high < 40 and -5.0 <= low < -2.5


def test_the_calibrator_nearest_to_float_is_kept() -> None:
    own = quantizing.recipe(calibrators=["minmax", "percentile"], percentile=60.0)
    best, tried = quantize(quantizing.residual(), own, TRAIN, VAL, "trt", [False])
    assert best.calibrator == "minmax"  # the other cuts off two fifths of all values
    assert [one["calibrator"] for one in tried] == ["minmax", "percentile"] and tried[0]["noise"] < tried[1]["noise"]


# Bias correction


def test_the_shift_of_each_layer_is_taken_out() -> None:
    model = quantizing.residual(seed=3)
    found = observe(model, TRAIN, quantizing.SPEC)
    plan = QuantizationPlan("trt", found.ranges("percentile", 97.0, symmetric=True))
    corrected = correct_biases(model, plan, TRAIN, quantizing.SPEC)
    images = torch.from_numpy(normalise(np.concatenate(list(TRAIN.batches(64))), quantizing.SPEC))

    def means(module: GraphModule) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}

        def note(label: str, output: torch.Tensor) -> torch.Tensor:
            found[label] = output.mean(dim=(0, 2, 3) if output.ndim == 4 else 0).numpy()
            return output

        with torch.inference_mode():
            module.eval()(images, note)
        return found

    exact, before, after = (
        means(GraphModule(model)),
        means(GraphModule(model, plan)),
        means(GraphModule(corrected, plan)),
    )
    for layer, mean in exact.items():
        assert np.allclose(after[layer], mean, atol=2e-3), layer
    assert max(np.abs(before[layer] - exact[layer]).max() for layer in exact) > 0.01


# Sensitivity and exclusion


def test_the_layer_that_does_not_bear_8_bits_is_found(bench: Workbench) -> None:
    (candidate,) = bench.calibrate([False])
    found = by_value(sensitivities(bench, candidate))
    assert found[0].layer == "two" and found[0].gain > 0.7
    assert "two" in found[0].sentence()


def test_exclusion_stops_at_the_budget_and_spends_no_more_than_it_may(bench: Workbench) -> None:
    (candidate,) = bench.calibrate([False])
    bench.recipe = quantizing.recipe(max_float_share=0.99)
    best, record = exclude(bench, candidate, lambda one: one.noise < candidate.noise / 2)
    assert [one["layer"] for one in record["kept_in_float"]] == ["two"]
    assert "two" in best.plan.keep_float and best.noise < candidate.noise / 2
    assert record["said"][0].startswith("kept in float: two")
    bench.recipe = quantizing.recipe(max_float_share=0.05)
    best, record = exclude(bench, candidate, lambda one: False)
    assert "two" not in best.plan.keep_float and record["float_share"] <= 0.05


def test_bargains_are_ordered_by_gain_for_cost() -> None:
    given = [Bargain("big", 0.5, 0.5), Bargain("small", 0.2, 0.01), Bargain("worse", -0.1, 0.01)]
    assert [one.layer for one in by_value(given)] == ["small", "big"]


# All of it


def test_steps_run_only_where_the_budget_is_missed(tmp_path: Path) -> None:
    run = lambda **more: make_int8(  # noqa: E731
        broken(), quantizing.recipe(**more), teacher(), TRAIN, VAL, "trt", [False], tmp_path / "qat.safetensors"
    )
    best, record = run(max_noise=10.0)
    budget = NoiseBudget(record["budget"]["val_auc"] - 1e-5, 10.0)
    if budget.holds(best):
        assert "exclusion" not in record and "qat" not in record and not record["missed"]
    best, record = run(max_noise=1e-6, qat="never", max_float_share=0.0)
    assert "noise" in record["missed"] and "qat" not in record and "exclusion" not in record
    assert record["kept_in_float"] == ["head"]  # the classifier, and nothing else
    # Training that brings nothing is not kept, but told; the record says both distances.
    _, record = run(max_noise=1e-6, max_float_share=0.0)
    told = record["qat"]
    assert told["kept"] == (
        told["distance_to_teacher_after"] < told["distance_to_teacher_before"]
        and told["val_auc_after"] >= told["val_auc_before"] - 0.001
    )


def test_training_brings_the_rounded_network_nearer_to_its_teacher(tmp_path: Path) -> None:
    own = quantizing.recipe(qat="always", qat_epochs=20.0, qat_learning_rate=5e-3, max_float_share=0.0)
    _, record = make_int8(broken(), own, teacher(), TRAIN, VAL, "trt", [False], tmp_path / "qat.safetensors")
    told = record["qat"]
    assert told["distance_to_teacher_after"] < 0.9 * told["distance_to_teacher_before"]


def _train(target: Path, kill: bool) -> None:
    torch.set_num_threads(1)
    if kill:
        saves = [3]
        inner = checkpoints.write_bytes

        def write(path: Path, data: bytes) -> None:
            inner(path, data)
            saves[0] -= 1
            if not saves[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoints.write_bytes = write  # type: ignore[attr-defined]
    own = quantizing.recipe(qat="always", qat_epochs=3.0, max_float_share=0.0, bias_correction=False)
    often = own.train.model_copy(update={"checkpoint_minutes": 1e-6})  # after every step
    own = own.model_copy(update={"train": often})
    best, _ = make_int8(broken(), own, teacher(), TRAIN, VAL, "trt", [False], target / "qat.safetensors")
    (target / "model.onnx").write_bytes(best.base)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edgedx.lab.quantize.int8", "accelerate", "timm"])

    def run(target: Path, kill: bool) -> int | None:
        target.mkdir(exist_ok=True)
        process = context.Process(target=_train, args=(target, kill))
        process.start()
        process.join(180)
        return process.exitcode

    assert run(tmp_path / "whole", False) == 0
    assert run(tmp_path / "cut", True) == -signal.SIGKILL
    assert (tmp_path / "cut" / "qat.safetensors").is_file() and not (tmp_path / "cut" / "model.onnx").is_file()
    assert run(tmp_path / "cut", False) == 0
    assert (tmp_path / "cut" / "model.onnx").read_bytes() == (tmp_path / "whole" / "model.onnx").read_bytes()


def _other_cpu(monkeypatch: pytest.MonkeyPatch, *features: str) -> None:
    real = read_hardware()
    cpu = replace(real.cpu, features=features)
    monkeypatch.setattr("edgedx.lab.quantize.kernels.read_hardware", lambda: replace(real, cpu=cpu))


def test_kernels_that_saturate_are_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    best, _ = quantize(quantizing.residual(), quantizing.recipe(), TRAIN, VAL, "u8s8", [True])
    recipe = quantizing.recipe(max_fused_difference=0.001)
    assert "val_auc_fused" in check_fused(best, VAL, recipe, "u8s8")
    simulated = predict(OnnxRunner(best.model, fused=False), VAL, quantizing.SPEC)
    margin = simulated[:, 1] - simulated[:, 0]
    easy = replace(VAL, labels=(margin > np.median(margin)).astype(np.int64))  # in float the network knows them all
    bad = QuantizedModel(**{**vars(best), "logits": -simulated, "auc": 0.0})  # kernels turn the order around
    _other_cpu(monkeypatch)
    with pytest.raises(GateRefused, match="no VNNI") as refused:
        check_fused(bad, easy, recipe, "u8s8")
    assert "x86-avx2" in str(refused.value.next_step)
    _other_cpu(monkeypatch, "avx512_vnni")
    with pytest.raises(GateRefused, match="not the reason") as refused:
        check_fused(bad, easy, recipe, "u8s8")
    assert "x86-avx2" not in str(refused.value.next_step)
    assert "device proves" in str(check_fused(best, VAL, recipe, "u8s8", here=False)["kernels"])


def test_a_difference_that_few_images_explain_is_told_and_blames_no_cpu() -> None:
    """The public run: 21 images of val, a fixed limit of 0.01, and a CPU with VNNI that was blamed."""
    best, _ = quantize(quantizing.residual(), quantizing.recipe(), TRAIN, VAL, "u8s8", [True])
    few = VAL.take(np.arange(20))
    logits = predict(OnnxRunner(best.model, fused=False), few, quantizing.SPEC)
    order = np.argsort(logits[:, 1] - logits[:, 0])
    # Two neighbours in rank of different class change places: the smallest change of AUC that there is.
    place = next(i for i in range(19) if few.labels[order[i]] == 0 and few.labels[order[i + 1]] == 1)
    changed = logits.copy()
    changed[order[[place, place + 1]]] = changed[order[[place + 1, place]]]
    recipe = quantizing.recipe(max_fused_difference=0.001)
    area = auc_of_logits(recipe.task, changed, few.labels)
    found = check_fused(QuantizedModel(**{**vars(best), "logits": changed, "auc": area}), few, recipe, "u8s8")
    assert "do not tell from chance" in found["kernels"] and "20 images" in found["kernels"]
    assert noise_of(logits, logits) == 0
