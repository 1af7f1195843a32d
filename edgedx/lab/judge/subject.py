"""What is evaluated: a checkpoint folder, an ONNX variant of a run, or a bundle, all asked in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedx.core.errors import InputOutputError, ProviderMissing, UsageError
from edgedx.core.files import read_json
from edgedx.core.preprocess import Canvas, PreprocessSpec, normalise
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.columns import FittedColumn
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.conformal import SetThresholds
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.install.active import open_any
from edgedx.device.install.health import serving_variant
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Output, Runner
from edgedx.lab.quantize.choice import runs_fused

CARD = "model.json"  # as in lab.checkpoint, which would import torch
Infer = Callable[..., np.ndarray]
"""Canvases of shape (N, H, W) or (N, H, W, 3), and encoded columns (N, T) where the subject has some, to logits (N, K);
without them all columns are absent."""

Whole = Callable[..., Output]
"""As `Infer`, to logits and features."""


@dataclass(frozen=True)
class Subject:
    """A model, how it decides, and the run it lies in.

    Attributes
    ----------
    name : str
        Short: teacher, student, int8-u8s8.
    ran : str
        What computes its answers, in words.
    opened : callable
        A context manager that yields an `Infer`.
    run, recipe : optional
        The run around it; None for what lies by itself.
    maps : callable, optional
        Canvases to class activation maps of shape (N, K, h, w), or None where the graph has none.
    columns : tuple of FittedColumn
        What the model is told beside the image.
    whole : callable, optional
        As `opened`, with the pooled features beside the logits; None for an ensemble, which has none.
    sets : SetThresholds, optional
        Of its conformal prediction sets, which a bundle has.
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
    opened: Callable[[], AbstractContextManager[Infer]]
    run: Path | None = None
    recipe: Recipe | None = None
    maps: Callable[[Canvas], np.ndarray | None] | None = None
    columns: tuple[FittedColumn, ...] = ()
    whole: Callable[[], AbstractContextManager[Whole]] | None = None
    sets: SetThresholds | None = None

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
    path: Path, *, run: Path | None = None, variant: str | None = None, threads: int = 0, device: str = "cpu"
) -> Subject:
    """Recognise what `path` is.

    Parameters
    ----------
    run : Path, optional
        Whose data set to use; found by itself for what lies in a run.
    variant : str, optional
        Of a bundle.
    device : str
        Of torch, for checkpoints: cpu, cuda.

    Raises
    ------
    UsageError
        A run folder itself, or none of the three.
    """
    if not path.exists():
        raise InputOutputError(f"nothing at {path}", next_step="give a checkpoint folder, an .onnx variant or a bundle")
    home = run or _run_around(path)
    recipe = load_recipe(str(home / "recipe.yaml"), []) if home is not None else None
    if path.is_dir() and (path / CARD).is_file():
        return _checkpoint(path, home, recipe, device)
    if path.suffix == ".onnx":
        return _variant(path, home, recipe, threads)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        found = [path / name for name in ("teacher", "student") if (path / name / CARD).is_file()]
        found += sorted(path.glob("*/*.onnx")) + sorted(path.glob("bundle/*.edgedx"))
        named = ", ".join(map(str, found)) or "- it holds none yet"
        raise UsageError(
            f"{path} is a run of several models",
            next_step=f"name one of {named}; or all of them: edgedx report {path}",
        )
    return _bundle(path, home, recipe, variant, threads)


def _run_around(path: Path) -> Path | None:
    places = (path.parent, path.parent.parent)
    return next((folder for folder in places if (folder / "recipe.yaml").is_file()), None)


def _checkpoint(path: Path, run: Path | None, recipe: Recipe | None, device: str) -> Subject:
    import torch

    from edgedx.lab.train.checkpoint import load_checkpoint

    found = load_checkpoint(path)
    card = found.card

    @contextmanager
    def opened() -> Iterator[Infer]:
        model = found.model.to(device)

        def infer(canvases: Canvas, columns: np.ndarray | None = None) -> np.ndarray:
            given = [normalise(canvases, card.preprocess), *([] if columns is None else [columns])]
            with torch.inference_mode():
                logits = model(*(torch.from_numpy(one).to(device) for one in given))
                return np.asarray(logits.float().cpu().numpy())

        yield infer

    @contextmanager
    def whole() -> Iterator[Whole]:
        from edgedx.lab.train.column_head import head_logits, head_of, image_part
        from edgedx.lab.train.network import WithFeatures

        model, head = WithFeatures(image_part(found.model)).to(device), head_of(found.model)

        def infer(canvases: Canvas, columns: np.ndarray | None = None) -> Output:
            if head is not None and columns is None:
                columns = np.zeros((len(canvases), head.inputs), np.float32)
            with torch.inference_mode():
                told = model(torch.from_numpy(normalise(canvases, card.preprocess)).to(device))
            logits, features = (one.float().cpu().numpy() for one in told)
            return Output(logits + head_logits(head, columns), features)

        yield infer

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
        opened=opened,
        whole=whole,
        run=run,
        recipe=recipe,
        columns=tuple(card.columns),
    )


def _variant(path: Path, run: Path | None, recipe: Recipe | None, threads: int) -> Subject:
    facts = path.parent / "metrics.json"
    entry = read_json(facts).get("variants", {}).get(path.stem) if facts.is_file() else None
    if recipe is None or entry is None:
        raise UsageError(
            f"{path} lies in no run that knows it: its classes and its preprocessing are not known",
            next_step="name an ONNX file that `edgedx compress` wrote, in its run, or a bundle",
        )
    card = path.parent.parent / "student" / CARD
    columns = read_json(card).get("columns", []) if card.is_file() else []
    fused = runs_fused(entry)
    runner = OnnxRunner(path, threads=threads, fused=fused)
    pairs = "" if fused else ", 8-bit pairs computed in float"
    return Subject(
        name=path.stem,
        ran=f"variant {path.stem}, ONNX Runtime{pairs}",
        path=path,
        task=recipe.task.kind,
        classes=recipe.task.classes,
        positive=recipe.task.positive,
        preprocess=recipe.preprocess,
        temperature=float(entry["temperature"]),
        points=[OperatingPoint.model_validate(one) for one in entry["operating_points"]],
        accept=recipe.accept,
        synthetic=recipe.synthetic,
        opened=_of_runner(runner, recipe.preprocess),
        whole=_whole_of_runner(runner, recipe.preprocess),
        maps=lambda canvases: runner.infer(normalise(canvases, recipe.preprocess), cam=True).cam,
        run=run,
        recipe=recipe,
        columns=tuple(FittedColumn.model_validate(one) for one in columns),
    )


def _bundle(path: Path, run: Path | None, recipe: Recipe | None, variant: str | None, threads: int) -> Subject:
    bundle = open_any(path)
    manifest = bundle.manifest
    if recipe is not None and (recipe.preprocess != manifest.preprocess or recipe.task.classes != manifest.classes):
        raise UsageError(
            f"{path} was made for other images or classes than the recipe of {run}",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )
    name = variant or serving_variant(bundle) or manifest.default_variant
    try:
        runner = open_runner(bundle, variant=name, threads=threads)
        ran = f"variant {name} of the bundle, {'ONNX Runtime' if isinstance(runner, OnnxRunner) else 'TensorRT'}"
    except ProviderMissing:
        # What a TensorRT target computes can be had on a CPU, without its kernels; the reader is told.
        runner = OnnxRunner(bundle.model(name), threads=threads, fused=manifest.variants[name].scheme != "trt")
        ran = f"variant {name} of the bundle, ONNX Runtime instead of TensorRT, which is not here"
    return Subject(
        name=f"{manifest.name}-{name}",
        ran=ran,
        path=path,
        task=manifest.task,
        classes=manifest.classes,
        positive=manifest.positive,
        preprocess=manifest.preprocess,
        temperature=manifest.temperature,
        points=manifest.operating_points,
        accept=manifest.accept,
        synthetic=manifest.synthetic,
        opened=_of_runner(runner, manifest.preprocess),
        whole=_whole_of_runner(runner, manifest.preprocess),
        sets=manifest.doubt.sets.get(name),
        maps=lambda canvases: runner.infer(normalise(canvases, manifest.preprocess), cam=True).cam,
        run=run,
        recipe=recipe,
        columns=tuple(manifest.columns),
    )


def _of_runner(runner: Runner, spec: PreprocessSpec) -> Callable[[], AbstractContextManager[Infer]]:
    @contextmanager
    def opened() -> Iterator[Infer]:
        with runner:
            yield lambda canvases, columns=None: runner.infer(normalise(canvases, spec), columns).logits

    return opened


def _whole_of_runner(runner: Runner, spec: PreprocessSpec) -> Callable[[], AbstractContextManager[Whole]]:
    @contextmanager
    def opened() -> Iterator[Whole]:
        with runner:
            yield lambda canvases, columns=None: runner.infer(normalise(canvases, spec), columns)

    return opened
