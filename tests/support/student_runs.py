"""Makes a tiny student in a process of its own that can be killed at a named place."""

from __future__ import annotations

import fnmatch
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny

from edgedx.core.settings.recipe import Recipe

# Where to kill: at which call of which function, or after which write of which file.
PLACES: dict[str, tuple[str, int]] = {
    "pruning, first ranking": ("edgedx.lab.compress.prune._gradients", 1),
    "recovery, in the middle": ("*/work/recovering-1.safetensors", 3),
    "recovery, just kept": ("*/work/recovered-1.safetensors", 1),
    "pruning, last ranking": ("edgedx.lab.compress.prune._gradients", 3),
    "first trial": ("*/work/trial-0.safetensors", 2),
    "second trial": ("*/work/trial-1.safetensors", 2),
    "distillation": ("*/work/distil.safetensors", 4),
    "judging the student": ("*/student/model.safetensors", 1),
    "control": ("*/control/work/control.safetensors", 4),
}
STUDENT: dict[str, Any] = {
    "macs": 0.7,
    "round_to": 2,
    "steps": 3,
    "recovery_epochs": 1.0,
    "importance_batches": 2,
    "temperatures": [2.0, 4.0],
    "trial_share": 0.4,
    "feature": "crd",
    "feature_memory": 16,
    "epochs": 3,
}


def recipe(folder: Path, **changes: Any) -> Recipe:
    """The tiny task on the images below `folder`, with dropout, mixup and a state that is saved all the time."""
    return tiny.recipe(
        folder / "set",
        augment={"mixup": 0.2},
        model={"dropout": 0.2},
        train={"checkpoint_minutes": 0.00001, "ema": 0.9},
        student={**STUDENT, **changes},
    )


def prepare(folder: Path) -> None:
    """Images, a data set and a teacher of it, and a folder of images without labels."""
    import torch

    from edgedx.lab.data.dataset import build_dataset
    from edgedx.lab.network.backbone import build_model
    from edgedx.lab.network.checkpoint import save_checkpoint
    from edgedx.lab.run.card import ModelCard

    (folder / "set").mkdir(parents=True)
    tiny.write_set(folder / "set")
    for number in range(12):
        tiny.write_picture(folder / "more" / f"{number}.png", tiny.picture(9000 + number, bright=number % 2 == 1))
    own = recipe(folder)
    build_dataset(own, folder / "run" / "data")
    torch.manual_seed(0)
    model = build_model("test_efficientnet", 2, own.preprocess)
    for name, weight in model.named_parameters():
        if weight.ndim == 1 and "weight" in name:  # untrained residual blocks end in zeros, which no gradient passes
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    card = ModelCard(
        backbone="test_efficientnet", task=own.task, preprocess=own.preprocess, role="teacher", weights_from="none"
    )
    save_checkpoint(folder / "run" / "teacher", model, card)


def make(folder: Path, target: Path, place: str | None = None, *, resume: bool = False) -> dict[str, Any]:
    """Make the student below `target`, with its control; killed at `place` where one is named."""
    import torch

    from edgedx.lab.compress.student import make_student
    from edgedx.lab.data.prepare import open_data
    from edgedx.lab.data.unlabeled import open_unlabeled
    from edgedx.lab.network.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    if place:
        _kill_at(*PLACES[place])
    own, run = recipe(folder), folder / "run"
    data = open_data(own, run)
    more = open_unlabeled(own, run, folder / "more", data)
    teacher = load_checkpoint(run / "teacher")
    return make_student(own, teacher, data, target / "student", unlabeled=more, ablate=True, resume=resume)


def make_in_a_process(folder: Path, target: Path, place: str | None = None, *, resume: bool = False) -> int:
    """Exit code of `make` in a fresh process; -9 when it was killed. The imports of torch and timm are shared."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["edgedx.lab.compress.student", "edgedx.lab.run.plots", "torch_pruning", "accelerate", "timm"]
    )
    process = context.Process(target=make, args=(folder, target, place), kwargs={"resume": resume})
    process.start()
    process.join(180)
    assert process.exitcode is not None, "hangs"
    return process.exitcode


def _kill_at(what: str, count: int) -> None:
    from edgedx.lab.compress import prune
    from edgedx.lab.network import checkpoint

    left = [count]

    def tick() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "edgedx.lab.compress.prune._gradients":
        prune._gradients = _after(prune._gradients, lambda *given: True, tick)
    else:
        matches = lambda path, data: fnmatch.fnmatch(str(path), what)  # noqa: E731
        checkpoint.write_bytes = _after(checkpoint.write_bytes, matches, tick)  # type: ignore[attr-defined]


def _after(inner: Callable[..., Any], matches: Callable[..., bool], tick: Callable[[], None]) -> Callable[..., Any]:
    def outer(*given: Any) -> Any:
        result = inner(*given)
        if matches(*given):
            tick()
        return result

    return outer
