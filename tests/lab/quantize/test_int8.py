"""Calibration to training: what each step is for, when it runs, what it may cost, and that a kill costs nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quantizing
import torch

from edgedx.core.errors import GateRefused
from edgedx.core.preprocess import normalise
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.predict import predict
from edgedx.lab.network import checkpoint as checkpoints
from edgedx.lab.network.checkpoint import Checkpoint
from edgedx.lab.quantize.bias_correction import correct_biases
from edgedx.lab.quantize.calibrate import Histogram, Observed, observe
from edgedx.lab.quantize.graph_torch import GraphModule
from edgedx.lab.quantize.int8 import NoiseBudget, make_int8
from edgedx.lab.quantize.onnx_graph import Graph, with_weights
from edgedx.lab.quantize.qdq import QuantizationPlan
from edgedx.lab.quantize.sensitivity import Bargain, by_value, exclude, sensitivities
from edgedx.lab.quantize.workbench import QuantizedModel, Workbench, check_fused, noise_of, quantize
from edgedx.lab.run.card import ModelCard

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


def test_kernels_that_saturate_are_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    best, _ = quantize(quantizing.residual(), quantizing.recipe(), TRAIN, VAL, "u8s8", [True])
    good = QuantizedModel(**{**vars(best), "auc": 1.0})
    assert "val_auc_fused" in check_fused(good, VAL, quantizing.recipe(), "u8s8")
    simulated = predict(OnnxRunner(best.model, fused=False), VAL, quantizing.SPEC)
    monkeypatch.setattr("edgedx.lab.quantize.workbench.auc_of_logits", lambda *given: 0.95)
    with pytest.raises(GateRefused, match="avx512_vnni or avx_vnni") as refused:
        check_fused(QuantizedModel(**{**vars(best), "auc": 0.445}), VAL, quantizing.recipe(), "u8s8")
    assert "x86-avx2" in str(refused.value.next_step)
    assert "device proves" in str(check_fused(good, VAL, quantizing.recipe(), "u8s8", here=False)["kernels"])
    assert noise_of(simulated, simulated) == 0
