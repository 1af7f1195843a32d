"""How near training comes to what its bare step allows on this machine, and what the loop before it gave.

    python benchmarks/training_speed.py [--backbones ...] [--sides 64 224] [--previous REVISION_OR_FOLDER] [--save]

For each backbone and size: images a second of `fit` (augmentation, running mean, clipping, looking at val, an eighth as
many images, after each epoch: all that the product does), from the second epoch on; of the bare step: forward, backward
and a fused AdamW on one batch that stays where it is. On a GPU, where nothing else runs, the bare step is compiled and
captured, in a process of its own. On a CPU neighbours come and go, so `fit` and the bare step take turns in one
process, an epoch each: the ratio is the median over the epochs, and its range is told. With --compile, the compiled
bare step of a CPU is measured as well, by itself. Images are random: what a network costs does not depend on what it
sees.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BACKBONES = (
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "resnet50",
    "densenet121",
    "vgg16",
    "inception_v3",
    "convnext_tiny",
)
_ROOT = Path(__file__).resolve().parent.parent
_SMALLEST = {"inception_v3": 80}  # pixels


def recipe_for(backbone: str, side: int, batch: int, epochs: int, compiled: str) -> Any:
    """A recipe of the usual kind; of the loop before, the same without what it did not know."""
    from edgedx.core.settings.recipe import parse_recipe

    try:
        from edgedx.core.settings.recipe_training import Train
    except ImportError:  # before that file was there
        from edgedx.core.settings.recipe_sections import Train
    train: dict[str, Any] = {"frozen_epochs": 0, "epochs": epochs, "batch_size": batch, "checkpoint_minutes": 60}
    if "compile" in Train.model_fields:
        train["compile"] = compiled
    return parse_recipe(
        {
            "name": "speed",
            "title": "random images",
            "task": {"kind": "binary", "classes": ["a", "b"], "positive": "b"},
            "data": {"source": "csv", "path": "nowhere"},
            "preprocess": {"size": [side, side], "window": "none", "bits": 16},
            "augment": {"mixup": 0.2},
            "model": {"backbone": backbone, "weights": "none"},
            "train": train,
        }
    )


def images_of(count: int, side: int) -> Any:
    """So many random canvases."""
    import numpy as np

    from edgedx.lab.data.dataset import Dataset

    rng = np.random.default_rng(0)
    return Dataset(
        names=[str(number) for number in range(count)],
        patients=[str(number) for number in range(count)],
        labels=np.arange(count) % 2,
        splits=["train"] * count,
        canvases=rng.integers(0, 65536, (count, side, side), dtype=np.uint16),
        rows=np.arange(count),
        subgroups=[{} for _ in range(count)],
        digest="random",
    )


def measure_fit(options: argparse.Namespace) -> dict[str, Any]:
    """`fit`, by the edgedx that is imported."""
    import torch

    from edgedx.lab.train.loop import fit
    from edgedx.lab.train.phase import Phase, Training
    from edgedx.lab.train.tasks import Classify

    try:
        from edgedx.lab.network.backbone import build_model
    except ImportError:  # before that room was there
        from edgedx.lab.train.network import build_model
    recipe = recipe_for(options.backbone, options.side, options.batch, options.epochs, options.compiled)
    model = build_model(options.backbone, 2, recipe.preprocess, dropout=0.2, stochastic_depth=0.1)
    count = options.batch * options.steps
    ends: list[float] = []
    begins = [time.perf_counter()]  # of `fit`'s epochs
    bare: list[float] = []  # seconds of as many bare steps, after each epoch
    step: Callable[[], None] | None = None
    peak = 0.0

    def between(line: Any) -> None:
        nonlocal step, peak
        ends.append(time.perf_counter())
        if options.turns:
            if step is None:
                peak = _peak_gb()  # of `fit` alone
                step, _ = bare_step(options)
                step()
            began = time.perf_counter()
            for _ in range(options.steps):
                step()
            bare.append(time.perf_counter() - began)
        begins.append(time.perf_counter())

    outcome = fit(
        Training(
            model,
            Classify(recipe.task),
            images_of(count, options.side),
            images_of(max(2, count // 8), options.side),
            recipe,
            [Phase("all layers", options.epochs, 1e-4)],
            watch=between,
        )
    )
    epochs = [end - begin for begin, end in zip(begins, ends, strict=False)]
    seconds = statistics.median(epochs[1:])
    found = {
        "images_per_s": count / seconds,
        "first_epoch_s": epochs[0],
        "epoch_s": seconds,
        "data_share": outcome.data_share,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else peak or _peak_gb(),
    }
    if options.turns:
        # Between two turns of the bare step lies an epoch: what the machine gave before and after it, in the mean.
        pairs = zip(epochs[1:], bare[:-1], bare[1:], strict=True)
        ratios = [(before + after) / 2 / epoch for epoch, before, after in pairs]
        found |= {"bare_images_per_s": count / statistics.median(bare), "ratios": sorted(ratios)}
    return found


def bare_step(options: argparse.Namespace) -> tuple[Callable[[], None], float]:
    """The step alone, as fast as it can be had here without writing kernels; and the seconds to set it up."""
    import timm
    import torch
    import torch.nn.functional as F

    from edgedx.lab.train.loop import _keep_freed_memory

    _keep_freed_memory()  # as `fit` does: page faults are a fifth of a step on a CPU
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    torch.manual_seed(0)
    extra = {"drop_path_rate": 0.1} if options.backbone.startswith(("tf_eff", "mobile", "resnet", "convnext")) else {}
    model = timm.create_model(options.backbone, num_classes=2, in_chans=1, drop_rate=0.2, **extra)
    model = model.train().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True, capturable=on_gpu)
    images = torch.randn(options.batch, 1, options.side, options.side, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (options.batch,), device=device)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu, cache_enabled=False):
            logits = model(images)
        return F.cross_entropy(logits.float(), labels)

    forward: Callable[..., torch.Tensor] = loss_of
    began = time.perf_counter()
    if options.compiled == "on":
        forward = torch.compile(loss_of, dynamic=False)

    def step() -> None:
        forward(images, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    replay = step
    if on_gpu:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            step()
        replay = graph.replay
    else:
        step()
    return replay, time.perf_counter() - began


def measure_bare(options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of the bare step."""
    import torch

    on_gpu = torch.cuda.is_available()
    replay, set_up = bare_step(options)
    times = []
    for _ in range(options.steps * 2 if on_gpu else options.steps):
        began = time.perf_counter()
        replay()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return {"images_per_s": options.batch / sorted(times)[len(times) // 2], "set_up_s": set_up}


def _peak_gb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def run_child(
    tree: Path, what: str, options: argparse.Namespace, backbone: str, side: int, compiled: str, turns: bool = False
) -> Any:
    """One measurement in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", what, "--backbone", backbone]
    command += ["--side", str(side), "--batch", str(options.batch), "--steps", str(options.steps)]
    command += ["--epochs", str(options.epochs), "--compiled", compiled]
    command += ["--turns"] if turns else []
    path = os.pathsep.join([str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "?"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(options: argparse.Namespace, previous: Path | None, backbone: str, side: int) -> dict[str, Any]:
    """All figures of one backbone at one size."""
    import torch

    on_gpu = torch.cuda.is_available()
    way = "on" if on_gpu and not options.plain else "off"
    alone = [way] if on_gpu else ["on"] if options.compile else []
    row: dict[str, Any] = {"backbone": backbone, "side": side}
    row["bare"] = [{"compile": one, **run_child(_ROOT, "bare", options, backbone, side, one)} for one in alone]
    row["fit"] = fit = run_child(_ROOT, "fit", options, backbone, side, way, turns=not on_gpu)
    if previous is not None:
        row["previous"] = run_child(previous, "fit", options, backbone, side, "off")
    if "ratios" in fit:
        row["bare"].append({"compile": "off", "images_per_s": fit["bare_images_per_s"]})
        row["ratio"] = statistics.median(fit["ratios"])
    elif "images_per_s" in fit and "images_per_s" in row["bare"][0]:
        row["ratio"] = fit["images_per_s"] / row["bare"][0]["images_per_s"]
    return row


def show(row: dict[str, Any]) -> str:
    """A line for people."""
    speeds = [f"{one['images_per_s']:.0f}" if "images_per_s" in one else one["failed"] for one in row["bare"]]
    fit, before = row["fit"], row.get("previous", {})
    told = (
        f"fit {fit['images_per_s']:.0f} images/s, waits {fit['data_share']:.1%}, {fit['peak_gb']:.1f} GB, "
        f"first epoch {fit['first_epoch_s']:.1f} s, later {fit['epoch_s']:.2f} s"
        if "images_per_s" in fit
        else f"fit failed: {fit['failed']}"
    )
    ratio = f", ratio {row['ratio']:.2f}" if "ratio" in row else ""
    if ratios := fit.get("ratios"):
        ratio += f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    earlier = f"; before {before['images_per_s']:.0f}" if "images_per_s" in before else before.get("failed", "")
    return f"{row['backbone']:22} {row['side']:4} px  bare {' '.join(speeds)}; {told}{ratio}{earlier}"


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 224])
    parser.add_argument("--batch", type=int, default=None, help="default 128 on a GPU, 16 on a CPU")
    parser.add_argument("--steps", type=int, default=None, help="of an epoch; default 60 on a GPU, 8 on a CPU")
    parser.add_argument("--epochs", type=int, default=None, help="default 3 on a GPU, 8 on a CPU")
    parser.add_argument("--compile", action="store_true", help="on a CPU, try the compiled bare step too")
    parser.add_argument("--plain", action="store_true", help="on a GPU, neither is compiled")
    parser.add_argument("--previous", default=None, help="a revision, or a folder with an older edgedx in it")
    parser.add_argument("--save", nargs="?", type=Path, const=_ROOT / "benchmarks/results/training_speed.json")
    for hidden in ("--child", "--backbone", "--compiled"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--turns", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps({"fit": measure_fit, "bare": measure_bare}[options.child](options)))
        return
    import torch

    from edgedx.core.files import write_json
    from edgedx.lab.run.stage import machine

    on_gpu = torch.cuda.is_available()
    options.batch = options.batch or (128 if on_gpu else 16)
    options.steps = options.steps or (60 if on_gpu else 8)
    options.epochs = options.epochs or (3 if on_gpu else 8)
    device = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"{machine()}; {device}; torch {torch.__version__}; batch {options.batch}", flush=True)
    facts = {"schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "device": device}
    facts |= {"torch": torch.__version__, "batch": options.batch, "steps": options.steps, "epochs": options.epochs}
    facts |= {"previous": options.previous}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        previous = Path(options.previous) if options.previous else None
        if previous is not None and not previous.is_dir():
            previous = Path(folder) / "previous"
            command = ["git", "worktree", "add", "--detach", str(previous), options.previous]
            subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
        for side in options.sides:
            for backbone in options.backbones:
                rows.append(measure(options, previous, backbone, max(side, _SMALLEST.get(backbone, 0))))
                print(show(rows[-1]), flush=True)
                if options.save:
                    write_json(options.save, {**facts, "rows": rows})
        if previous is not None and not Path(options.previous).is_dir():
            subprocess.run(["git", "worktree", "remove", "--force", str(previous)], cwd=_ROOT, check=True)


if __name__ == "__main__":
    main()
