"""The training loop: a killed run resumes to the same weights; two processes train as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgedx.lab.network.checkpoint import load_checkpoint, load_state

RECIPE = """
name: tiny
title: a tiny task
task: {kind: binary, classes: [dark, bright], positive: bright}
data: {source: medmnist, path: tiny.npz, patient_column: null}
preprocess: {size: [32, 32], window: none, bits: 8}
augment: {mixup: 0.2}
model: {backbone: test_efficientnet, weights: none, dropout: 0.2, stochastic_depth: 0.1}
train: {frozen_epochs: 0, epochs: 4, batch_size: 32, learning_rate: 0.003, checkpoint_minutes: 0.0005}
student: {macs: 1, epochs: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recipe and an npz whose classes differ by a bright spot."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 320), ("val", 96), ("test", 96)):
        labels = np.arange(count) % 2
        images = rng.normal(100, 30, (count, 28, 28))
        images[labels == 1, 10:16, 10:16] += 25
        arrays |= {f"{split}_images": images.clip(0, 255).astype(np.uint8), f"{split}_labels": labels[:, None]}
    np.savez(tmp_path / "tiny.npz", **arrays)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def _command(run: str, *more: str, launcher: tuple[str, ...] = ("-m", "edgedx")) -> list[str]:
    return [sys.executable, *launcher, "finetune", "tiny.yaml", "--out", run, "--json", *more]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "EDGEDX_DATA": str(folder), "OMP_NUM_THREADS": "1", "EDGEDX_CACHE": str(folder / "cache")}


def _run(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _kill_when(folder: Path, command: list[str], ready: object, seconds: float = 60) -> bool:
    """Start `command` and kill -9 it as soon as `ready()`; False when it ended by itself before."""
    process = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if ready():  # type: ignore[operator]
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        os.sched_yield()
    process.kill()
    process.wait()
    return False


def _weights(folder: Path, run: str) -> bytes:
    load_checkpoint(folder / run / "teacher")
    return (folder / run / "teacher" / "model.safetensors").read_bytes()


def test_a_run_killed_twice_and_resumed_ends_with_the_weights_of_an_undisturbed_one(folder: Path) -> None:
    _run(folder, _command("whole"))
    state = folder / "killed" / "teacher" / "state.safetensors"
    assert _kill_when(folder, _command("killed"), state.exists)
    again = subprocess.run(
        _command("killed"), cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False
    )
    assert again.returncode == 2 and "--resume" in again.stderr  # not continued, nor thrown away, unasked
    first = state.stat().st_mtime_ns
    resumed = _command("killed", "--resume")
    _kill_when(folder, resumed, lambda: state.exists() and state.stat().st_mtime_ns > first)
    _run(folder, resumed)
    assert _weights(folder, "killed") == _weights(folder, "whole")
    assert not state.exists()


@pytest.mark.slow
def test_two_processes_give_the_metrics_of_one_within_noise(folder: Path) -> None:
    one = json.loads(_run(folder, _command("one")))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "edgedx")
    two = json.loads(_run(folder, _command("two", launcher=launcher)))
    areas = [record["metrics"]["test"]["auc"] for record in (one, two)]
    assert min(area["value"] for area in areas) > 0.8  # both learned the task
    assert areas[1]["low"] <= areas[0]["value"] <= areas[1]["high"]
    options = ["--set", "student.epochs=4", "--set", "quantize.qat=always", "--int8", "--ablate", "--json"]
    students = []
    for run, way in (("one", ("-m", "edgedx")), ("two", launcher)):
        printed = _run(folder, [sys.executable, *way, "compress", run, *options])
        students.append(json.loads(printed)["student"]["test"]["auc"])  # of two processes, one prints
    assert min(area["value"] for area in students) > 0.8
    assert students[1]["low"] <= students[0]["value"] <= students[1]["high"]


def test_a_loss_that_is_not_finite_ends_training_with_a_sentence(folder: Path) -> None:
    """ludwig PR 3740, ignite 2569: every epoch was trained, weights of NaN were written, then came a traceback."""
    wild = ("--set", "train.learning_rate=1e6", "--set", "train.optimizer=sgd", "--set", "train.clip_norm=0")
    done = subprocess.run(
        _command("runs/wild", *wild), cwd=folder, env=_environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "training has diverged at a learning rate of 1e+06" in done.stderr and "try 100000" in done.stderr
    assert not (folder / "runs/wild/teacher/model.safetensors").exists() and "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_the_state_and_the_resumed_run_ends_with_the_same_weights(folder: Path) -> None:
    rarely = ("--set", "train.checkpoint_minutes=60", "--set", "train.epochs=40")
    long = _command("stopped", *rarely)
    process = subprocess.Popen(
        long, cwd=folder, env=_environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:  # told after the first steps
        if "more steps" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    state = folder / "stopped/teacher/state.safetensors"
    tensors, facts = load_state(state)
    assert facts["step"] > 0 and tensors
    _run(folder, [*long, "--resume"])
    assert not state.exists()
    _run(folder, _command("undisturbed", *rarely))
    assert _weights(folder, "stopped") == _weights(folder, "undisturbed")
