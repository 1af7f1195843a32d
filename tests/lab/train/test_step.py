"""The parts of a step: running mean, learning rates, losses, and whether to compile."""

from __future__ import annotations

import copy
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from timm.optim import param_groups_layer_decay
from timm.utils import ModelEmaV3
from torch import nn

from edgedx.core.preprocess import PreprocessSpec
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import pack_optimizer, unpack_optimizer
from edgedx.lab.train import compiling
from edgedx.lab.train.average import Average, weight_at
from edgedx.lab.train.compiling import Compiling
from edgedx.lab.train.interrupt import held_interrupt
from edgedx.lab.train.losses import Losses
from edgedx.lab.train.optimizer import Rates, make_optimizer, schedule
from edgedx.lab.train.phase import Phase

CPU = torch.device("cpu")
SPEC = PreprocessSpec(size=(32, 32))


def _disturb(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(torch.randn_like(value.float()).abs().to(value.dtype))


def test_the_running_mean_is_timms() -> None:
    model = build_model("test_efficientnet", 2, SPEC)
    mine, theirs = Average(model), ModelEmaV3(model, decay=0.97, use_warmup=True)
    for step in range(12):
        _disturb(model, step)
        mine.update(torch.tensor(weight_at(step, 0.97)))
        theirs.update(model, step=step)
    expected = theirs.module.state_dict()
    for name, value in mine.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_each_parameter_has_the_rate_of_its_layer_in_as_few_groups_as_there_are_rates(decay: float) -> None:
    model = build_model("tf_efficientnet_lite0", 2, SPEC)
    options = tiny.recipe(train={"layer_decay": decay, "weight_decay": 0.05}).train
    optimizer = make_optimizer(model, options, Phase("all", 1, 0.01), None, CPU)
    found = {
        id(one): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for one in group["params"]
    }
    expected = {
        id(one): (pytest.approx(0.01 * group["lr_scale"]), group["weight_decay"])
        for group in param_groups_layer_decay(model, 0.05, layer_decay=decay)
        for one in group["params"]
    }
    assert len(found) == len(list(model.parameters())) and found == expected
    assert len(optimizer.param_groups) == len(set(found.values()))
    if decay == 1.0:
        assert len(optimizer.param_groups) == 2  # with weight decay, and without


def test_rates_follow_the_schedule_in_proportion() -> None:
    model = build_model("test_efficientnet", 2, SPEC)
    options = tiny.recipe(train={"layer_decay": 0.9}).train
    optimizer = make_optimizer(model, options, Phase("all", 1, 0.01), None, CPU)
    before = [group["lr"] for group in optimizer.param_groups]
    Rates(optimizer, CPU).set(torch.tensor(0.25))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate / 4 for rate in before])
    factors = schedule(100, 10)
    assert [factors[step] for step in (0, 10, 55)] == pytest.approx([1 / 11, 1.0, 0.5])


def test_the_parts_of_a_schedule_are_the_whole() -> None:
    """So rounds of a federation warm up once, and each goes on at the rate at which the last one ended."""
    parts = [factor for number in range(5) for factor in schedule(20, 12, (number / 5, (number + 1) / 5))]
    assert parts == pytest.approx(schedule(100, 12))


def test_a_restored_moment_lies_in_memory_as_its_parameter_does() -> None:
    """torch's fused optimizers walk through memory: a moment in another order would meet the wrong weight."""
    weight = nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))

    def step(optimizer: torch.optim.Optimizer, weight: nn.Parameter, seed: int) -> None:
        torch.manual_seed(seed)
        weight.grad = torch.randn(weight.shape).to(memory_format=torch.channels_last)
        optimizer.step()

    whole = torch.optim.AdamW([weight], fused=True)
    step(whole, weight, 0)
    again = nn.Parameter(copy.deepcopy(weight.data))
    resumed = torch.optim.AdamW([again], fused=True)
    tensors, numbers = pack_optimizer(whole)
    unpack_optimizer(
        resumed, {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}, numbers
    )
    step(whole, weight, 1)
    step(resumed, again, 1)
    assert torch.equal(weight, again)


def test_the_first_loss_that_is_not_finite_is_found() -> None:
    losses = Losses(20, CPU)
    for step in range(5, 9):
        losses.note(step, torch.tensor(float(step)))
        assert losses.first_bad() is None
    losses.note(9, torch.tensor(float("inf")))
    assert losses.first_bad() == 9 and losses.mean(5, 9) == 6.5


def _compiling(monkeypatch: pytest.MonkeyPatch, paces: list[float], steps: int, option: Any = "auto") -> Any:
    """Decide by a clock on which each step takes what `paces` says, before and after compiling."""
    calls: list[str] = []
    clock, pace = [0.0], [paces[0]]

    def compiled() -> None:
        calls.append("compile")
        clock[0] += 30.0
        pace[0] = paces[-1]

    step_by = SimpleNamespace(
        captures=True, device=CPU, clipped=[None] * 100, feed=SimpleNamespace(batch_size=32), compile=compiled,
        eager=lambda: calls.append("eager"),
    )  # fmt: skip
    monkeypatch.setattr(compiling, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    decision = Compiling(step_by, option, steps, 0, None, "teacher", quiet=True)  # type: ignore[arg-type]
    for step in range(min(steps, 30)):
        clock[0] += pace[0]
        decision.after(step)
    return calls, decision.compiled


def test_a_step_is_compiled_where_that_pays_and_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _compiling(monkeypatch, [0.1], steps=100) == ([], False)  # 10 s of training: nothing to win
    assert _compiling(monkeypatch, [0.1, 0.06], steps=10_000) == (["compile"], True)
    assert _compiling(monkeypatch, [0.1, 0.11], steps=10_000) == (["compile", "eager"], False)
    assert _compiling(monkeypatch, [0.1], steps=10_000, option="off") == ([], False)
    assert _compiling(monkeypatch, [0.1], steps=10, option="on") == (["compile"], True)


def test_the_first_ctrl_c_waits_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), held_interrupt() as came:
        assert not came()
        os.kill(os.getpid(), signal.SIGINT)
        assert came()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
