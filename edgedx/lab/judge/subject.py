"""What is evaluated: a checkpoint, an ONNX variant of a run, or a bundle, all of them by a `Runner`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.local_point import points_of
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import InputOutputError, ProviderMissing, UsageError
from edgedx.core.preprocess import Canvas, PreprocessSpec, normalise
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.conformal import SetThresholds
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.install.active import open_any
from edgedx.device.install.health import serving_variant
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Output, Runner
from edgedx.lab.run.card import CARD
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.run import Run


@dataclass(frozen=True)
class Subject:
    """A model, how it decides, and the run it lies in.

    Attributes
    ----------
    name : str
        Short: teacher, student, int8-u8s8.
    ran : str
        What computes its answers, in words.
    runner : Runner
        What computes; not yet active.
    run, recipe : optional
        The run around it; None for what lies by itself.
    columns : tuple of FittedColumn
        What the model takes beside the image.
    sets : SetThresholds, optional
        Of its conformal prediction sets, which a bundle has.
    ordered : bool
        Whether its classes are grades in rising order; a bundle by itself does not say it.
    """

    name: str
    ran: str
    path: Path
    task: str
    classes: list[str]
    positive: str | None
    preprocess: PreprocessSpec
    temperature: float
    points: list[OperatingPoint]
    accept: Accept
    synthetic: bool
    runner: Runner
    run: Run | None = None
    recipe: Recipe | None = None
    columns: tuple[FittedColumn, ...] = ()
    sets: SetThresholds | None = None
    ordered: bool = False

    def infer(self, canvases: Canvas, columns: NDArray[np.float32] | None = None, *, cam: bool = False) -> Output:
        """Canvases of shape (N, H, W) or (N, H, W, 3), and encoded columns (N, T), to logits, features and maps.

        Where the model takes columns and none are given, all are absent. Within ``with subject.runner:``.
        """
        return self.runner.infer(normalise(canvases, self.preprocess), columns, cam=cam)

    def point(self, name: str | None) -> OperatingPoint:
        """The operating point called `name`; the first unless given; ``argmax`` is always there.

        Raises
        ------
        UsageError
            No such point.
        """
        if name is None:
            return self.points[0]
        known = {one.name: one for one in self.points}
        known.setdefault("argmax", OperatingPoint(name="argmax", threshold={}))
        if name not in known:
            raise UsageError(f"no operating point {name!r}", next_step=f"choose one of {', '.join(known)}")
        return known[name]


def open_subject(
    path: Path,
    *,
    run: Path | None = None,
    variant: str | None = None,
    profile: str | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> Subject:
    """Recognise what `path` is: a checkpoint, an ONNX file of a run, a bundle, or a run, which stands for what ships.

    Parameters
    ----------
    run : Path, optional
        Whose data set to use; found by itself for what lies in a run.
    variant : str, optional
        Of a bundle.
    profile : str, optional
        Device profile, where a run serves several.
    device : str
        Of torch, for checkpoints: cpu, cuda.

    Raises
    ------
    UsageError
        A run of which nothing is compressed, or none of these.
    """
    if not path.exists():
        raise InputOutputError(f"nothing at {path}", next_step="give a run, a checkpoint, an .onnx file or a bundle")
    home = Run.of(run) if run is not None else Run.around(path)
    recipe = home.recipe() if home is not None else None
    if path.is_dir() and (path / CARD).is_file():
        return _checkpoint(path, home, recipe, device)
    if path.suffix == ".onnx":
        return _variant(path, home, recipe, threads)
    if Run(path).exists:
        return _variant(Run(path).build(profile).shipped.path, Run(path), recipe, threads)
    return _bundle(path, home, recipe, variant, threads)


def _checkpoint(path: Path, run: Run | None, recipe: Recipe | None, device: str) -> Subject:
    import torch

    from edgedx.lab.network.checkpoint import load_checkpoint
    from edgedx.lab.network.torch_runner import TorchRunner

    checkpoint = load_checkpoint(path)
    card = checkpoint.card
    where = "CPU" if device == "cpu" else f"{device}: {torch.cuda.get_device_name()}"
    return Subject(
        name=path.name,
        ran=f"{card.role} {card.backbone}, FP32, PyTorch on {where}",
        path=path,
        task=card.task.kind,
        classes=card.task.classes,
        positive=card.task.positive,
        preprocess=card.preprocess,
        temperature=card.temperature,
        points=card.operating_points or [OperatingPoint(name="argmax", threshold={})],
        accept=recipe.accept if recipe else Accept(),
        synthetic=card.synthetic,
        runner=TorchRunner(checkpoint.model, device, features=True),
        run=run,
        recipe=recipe,
        columns=tuple(card.columns),
        ordered=card.task.ordered,
    )


def _variant(path: Path, run: Run | None, recipe: Recipe | None, threads: int) -> Subject:
    build = DeviceBuild.of_variant(path)
    variant = build.variants.get(path.stem) if build is not None else None
    if run is None or recipe is None or variant is None:
        raise UsageError(
            f"{path} lies in no run that knows it: its classes and its preprocessing are not known",
            next_step="name an ONNX file that `edgedx compress` wrote, in its run, or a bundle",
        )
    columns = run.student.card.columns if run.student in run.trained else []
    pairs = "" if variant.fused else ", 8-bit pairs computed in float"
    return Subject(
        name=path.stem,
        ran=f"variant {path.stem}, ONNX Runtime{pairs}",
        path=path,
        task=recipe.task.kind,
        classes=recipe.task.classes,
        positive=recipe.task.positive,
        preprocess=recipe.preprocess,
        temperature=variant.temperature,
        points=variant.points,
        accept=recipe.accept,
        synthetic=recipe.synthetic,
        runner=OnnxRunner(path, threads=threads, fused=variant.fused),
        run=run,
        recipe=recipe,
        columns=tuple(columns),
        ordered=recipe.task.ordered,
    )


def _bundle(path: Path, run: Run | None, recipe: Recipe | None, variant: str | None, threads: int) -> Subject:
    bundle = open_any(path)
    manifest = bundle.manifest
    if recipe is not None and (recipe.preprocess != manifest.preprocess or recipe.task.classes != manifest.classes):
        raise UsageError(
            f"{path} was made for other images or classes than the recipe of {run}",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )
    name = variant or serving_variant(bundle) or manifest.default_variant
    runner, how = runner_or_stand_in(bundle, name, threads)
    return Subject(
        name=f"{manifest.name}-{name}",
        ran=f"variant {name} of the bundle, {how}",
        path=path,
        task=manifest.task,
        classes=manifest.classes,
        positive=manifest.positive,
        preprocess=manifest.preprocess,
        temperature=manifest.temperature,
        points=points_of(bundle),
        accept=manifest.accept,
        synthetic=manifest.synthetic,
        runner=runner,
        sets=manifest.doubt.sets.get(name),
        run=run,
        recipe=recipe,
        columns=tuple(manifest.columns),
        ordered=recipe is not None and recipe.task.ordered,
    )


def runner_or_stand_in(bundle: Bundle, variant: str, threads: int) -> tuple[Runner, str]:
    """The runner of a bundle's variant, and what it is in words.

    What a TensorRT target computes can be had on a CPU, without its kernels: the reader must be told.
    """
    entry = bundle.manifest.variants.get(variant)
    try:
        runner = open_runner(bundle, variant=variant, threads=threads)
    except ProviderMissing:
        assert entry is not None
        runner = OnnxRunner(bundle.model(variant), threads=threads, fused=entry.scheme != "trt")
        return runner, how_it_runs(entry.scheme, entry.purpose)
    return runner, how_it_runs("", "cpu") if isinstance(runner, OnnxRunner) else "TensorRT"


def how_it_runs(scheme: str, purpose: str) -> str:
    """What of a variant runs here, in words."""
    if purpose != "tensorrt":
        return "ONNX Runtime with the kernels that serve"
    pairs = ", 8-bit pairs computed in float" if scheme == "trt" else ""
    return f"ONNX Runtime instead of TensorRT, which is not here{pairs}"
