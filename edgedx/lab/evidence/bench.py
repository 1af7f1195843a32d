"""Accuracy against latency: any mix of checkpoints, bundles, ONNX files and timm names, timed by turns in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import UsageError
from edgedx.core.files import write_json
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, preprocess
from edgedx.core.timing import interleave
from edgedx.device.runtime.predict import Predictor
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.run.card import CARD
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.model_folder import ModelFolder
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions


@dataclass
class Contender:
    """One row of the table.

    Attributes
    ----------
    model : bytes
        ONNX; everything is timed through the device's own runner.
    figures : dict
        AUC, sensitivity and specificity on test, where they are known; never computed here.
    """

    name: str
    model: bytes
    spec: PreprocessSpec
    figures: dict[str, Any]
    bundle: Path | None = None


def contenders_of(targets: Sequence[str], *, side: int | None = None, device: str | None = None) -> list[Contender]:
    """Open several targets (see `contender`); a run stands for its teacher, its student and the variant that ships.

    Parameters
    ----------
    side : int, optional
        Height and width in pixels of the input of timm models; the first target's own unless given.
    device : str, optional
        Device profile, where a run serves several.
    """
    paths = [
        str(path)
        for target in targets
        for path in (Run(Path(target)).models(device) if Run(Path(target)).exists else [target])
    ]
    known = {path: contender(path, None) for path in paths if Path(path).exists()}
    spec = next((one.spec for one in known.values()), PreprocessSpec())
    if side:
        spec = spec.model_copy(update={"size": (side, side)})
    return [known.get(path) or contender(path, spec) for path in paths]


def contender(target: str, spec: PreprocessSpec | None, classes: int = 2) -> Contender:
    """Open a checkpoint folder, an ONNX file of a run, a bundle, or a timm name (random weights: for latency alone).

    Parameters
    ----------
    spec : PreprocessSpec, optional
        Input of timm models, which have none of their own.

    Raises
    ------
    UsageError
        None of these.
    """
    path = Path(target)
    if path.is_dir() and (path / CARD).is_file():
        checkpoint = load_checkpoint(path)
        metrics = ModelFolder(path).metrics
        name = f"{checkpoint.card.role} {checkpoint.card.backbone} FP32"
        return Contender(
            name,
            export_onnx(checkpoint.model, checkpoint.card.preprocess),
            checkpoint.card.preprocess,
            metrics.get("test", {}),
        )
    if path.suffix == ".onnx" and (build := DeviceBuild.of_variant(path)) is not None:
        run, variant = Run.around(path), build.variants[path.stem]
        recipe = run.recipe() if run is not None else None
        if recipe is not None:
            return Contender(
                f"student, {variant.name}", path.read_bytes(), recipe.preprocess, variant.entry.get("test", {})
            )
    if path.is_file() and path.suffix == ".edgedx":
        bundle = open_bundle(path)
        manifest = bundle.manifest
        figures = {
            key: {
                end: manifest.metrics.get(f"test_{key}{tail}")
                for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
            }
            for key in ("auc", "sensitivity", "specificity")
            if f"test_{key}" in manifest.metrics
        }
        name = f"{manifest.name} {manifest.default_variant}"
        return Contender(name, bundle.model(), manifest.preprocess, figures, path)
    if path.exists() or "/" in target:
        raise UsageError(
            f"{target} is neither a checkpoint folder, an ONNX file of a run nor a bundle",
            next_step="give runs/NAME, runs/NAME/teacher, a .edgedx file or a timm name",
        )
    spec = spec or PreprocessSpec()
    return Contender(f"{target} FP32 (latency only)", export_onnx(build_model(target, classes, spec), spec), spec, {})


def bench(
    contenders: list[Contender],
    *,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 3.0,
    sample: Image | None = None,
) -> list[dict[str, Any]]:
    """Time preprocessing, inference and both together, by turns, so that ratios hold when the machine drifts.

    Parameters
    ----------
    threads, batch : int
        Of one inference.
    seconds : float
        To measure each contender, after warm-up.
    sample : Image, optional
        What is preprocessed; 2048 x 2048 noise of 12 bits unless given.

    Returns
    -------
    list of dict
        One row each: name, megabytes, latency records, AUC with interval, sensitivity, specificity.
    """
    if sample is None:
        noise = np.random.default_rng(0).integers(0, 4096, (2048, 2048), dtype=np.uint16)
        sample = Image(noise, (0.0, 4095.0))
    rows = []
    with ExitStack() as stack:
        inference: dict[str, Callable[[], Any]] = {}
        parts: list[dict[str, Callable[[], Any]]] = []
        for one in contenders:
            runner = stack.enter_context(OnnxRunner(one.model, threads=threads))
            tensor = np.random.default_rng(0).normal(size=(batch, *one.spec.input_shape)).astype(np.float32)
            inference[one.name] = _call(runner, tensor)
            parts.append({"preprocess": _prepare(sample, one.spec), "end_to_end": _whole(runner, one, sample)})
        if len(inference) < len(contenders):
            raise UsageError("the same model is named twice")
        limits = {"min_seconds": seconds * len(contenders), "max_seconds": 4 * seconds * len(contenders)}
        times = interleave(
            inference, batch=batch, threads=threads, provider="CPUExecutionProvider", repeats=100, **limits
        )
        for one, part in zip(contenders, parts, strict=True):
            stages = interleave(part, threads=threads, repeats=30, min_seconds=0.5, provider="CPUExecutionProvider")
            rows.append(
                _row(one, times[one.name].model_dump(), {key: value.model_dump() for key, value in stages.items()})
            )
    return rows


def _call(runner: OnnxRunner, tensor: np.ndarray) -> Callable[[], Any]:
    return lambda: runner.infer(tensor)


def _prepare(sample: Image, spec: PreprocessSpec) -> Callable[[], Any]:
    return lambda: preprocess(sample, spec)


def _whole(runner: OnnxRunner, one: Contender, sample: Image) -> Callable[[], Any]:
    if one.bundle is not None:
        predictor = Predictor(open_bundle(one.bundle), runner)
        return lambda: predictor.predict([sample])
    return lambda: runner.infer(preprocess(sample, one.spec)[None])


def _row(one: Contender, times: dict[str, Any], stages: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": one.name,
        "megabytes": len(one.model) / 1e6,
        "input": list(one.spec.input_shape),
        "auc": one.figures.get("auc"),
        "sensitivity": one.figures.get("sensitivity"),
        "specificity": one.figures.get("specificity"),
        "p50_ms": times["p50_ms"],
        "inference": times,
        **stages,
    }


def write_bench(rows: list[dict[str, Any]], folder: Path, title: str) -> dict[str, Any]:
    """Write ``bench.json`` and ``pareto.png`` and return the report."""
    from edgedx.lab.run.plots import pareto

    report = {"schema_version": 1, "machine": machine(), "versions": versions(), "rows": rows}
    write_json(folder / "bench.json", report)
    pareto(rows, folder / "pareto.png", title)
    return report
