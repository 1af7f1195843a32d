"""The gate at the workstation: an artifact, run as it will serve, against the run's teacher on the run's data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.errors import CheckpointError, ProviderMissing, UsageError
from edgedx.core.files import read_json
from edgedx.core.preprocess import normalise
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import answers_of_logits
from edgedx.core.stats.gate import Limits, Rule, Verdict, judge, write_verdict
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.clinic.gate import Examined, limits_of
from edgedx.device.clinic.samples import cases_of_samples, read_predictions
from edgedx.device.install.active import open_any
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Runner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.quantize.choice import runs_fused
from edgedx.lab.run.run import shipped_artifact
from edgedx.lab.train.checkpoint import load_checkpoint

from .teacher_answers import cases_of, teacher_answers

_BATCH = 64


def judge_variant(
    recipe: Recipe,
    run: Path,
    folder: Path,
    data: Dataset,
    *,
    entry: Mapping[str, Any] | None = None,
    split: str | None = None,
    subject: str = "the shipped model",
    write: bool = True,
    predictions: Path | None = None,
    threads: int = 0,
) -> Verdict:
    """Run an ONNX variant on the recipe's split and compare it with the teacher.

    Parameters
    ----------
    folder : Path
        Of the variant, e.g. ``run/int8/int8-u8s8``; its model is ``int8-u8s8.onnx`` beside it.
    entry : mapping, optional
        ``temperature``, ``operating_points`` and ``scheme`` of the variant; those in ``metrics.json`` beside the model
        unless given.
    split : str, optional
        The recipe's ``gate.split`` unless given.
    subject : str
        What the sentences call the variant.
    write : bool
        Put gate.json and flips.csv into `folder`.
    predictions : Path, optional
        Table of another model's answers, to compare with instead of the run's teacher.

    Raises
    ------
    CheckpointError
        The teacher is missing, or answered another data set.
    StorageError, InputOutputError
        The model or its figures are missing.
    """
    split = split or recipe.gate.split
    facts = entry if entry is not None else _entry(folder)
    # Kernels that this CPU has not are judged by the graph computed in float, as it was compressed.
    fused = runs_fused(facts)
    verdict = judge_model(
        recipe,
        run,
        OnnxRunner(folder.parent / f"{folder.name}.onnx", fused=fused, threads=threads),
        data,
        temperature=float(facts["temperature"]),
        point=OperatingPoint.model_validate(facts["operating_points"][0]),
        split=split,
        predictions=predictions,
        subject=subject,
        ran=f"variant {folder.name}, {_how(str(facts.get('scheme')), str(facts.get('purpose', 'cpu')))}",
    )
    if write:
        write_verdict(folder, verdict)
    return verdict


def judge_artifact(
    recipe: Recipe,
    run: Path,
    artifact: Path,
    *,
    split: str | None = None,
    variant: str | None = None,
    predictions: Path | None = None,
    threads: int = 0,
) -> Verdict:
    """Judge what `edgedx gate` was given: a run or a stage of it, an ONNX file in it, or a bundle. Writes nothing.

    Raises
    ------
    UsageError
        Nothing is compressed, or the bundle is of another task.
    """
    data = open_data(recipe, run)
    whole = artifact.is_dir() and run.resolve() in (artifact.resolve(), artifact.resolve().parent)
    path = shipped_artifact(run) if whole else artifact
    if path.suffix == ".onnx":
        if variant is not None:
            raise UsageError("--variant is for bundles", next_step=f"name the file: {path.parent / variant}.onnx")
        return judge_variant(
            recipe, run, path.with_suffix(""), data, split=split, write=False, predictions=predictions, threads=threads
        )
    bundle = open_any(path)
    return judge_bundle(
        recipe, run, bundle, data, variant=variant, split=split, predictions=predictions, threads=threads
    )


def judge_bundle(
    recipe: Recipe,
    run: Path,
    bundle: Bundle,
    data: Dataset,
    *,
    variant: str | None = None,
    split: str | None = None,
    predictions: Path | None = None,
    threads: int = 0,
) -> Verdict:
    """As `judge_variant`, for a model of a bundle, decided as a device decides. Writes nothing.

    Where the variant needs TensorRT and there is none here, its 8-bit pairs are computed in float, and ``ran`` says so.
    """
    manifest = bundle.manifest
    _check_same(manifest, recipe, str(bundle.path))
    name = variant or manifest.default_variant
    runner, ran = _runner(bundle, name, threads)
    return judge_model(
        recipe,
        run,
        runner,
        data,
        temperature=manifest.temperature,
        point=manifest.operating_points[0],
        split=split or recipe.gate.split,
        predictions=predictions,
        ran=ran,
    )


def judge_model(
    recipe: Recipe,
    run: Path,
    runner: Runner,
    data: Dataset,
    *,
    temperature: float,
    point: OperatingPoint,
    split: str,
    predictions: Path | None = None,
    subject: str = "the shipped model",
    ran: str = "",
) -> Verdict:
    """Run a model over a split and compare it with the teacher (see `core.gate.judge`). Writes nothing."""
    part = data.subset(split)
    cases = cases_of(part, recipe.task)
    with runner:
        logits = logits_of(runner, part, recipe)
    student = answers_of_logits(cases, logits, temperature, point)
    if predictions is not None:
        full, reference = read_predictions(predictions, cases, point.threshold), f"the answers in {predictions.name}"
    else:
        full, reference = teacher_answers(recipe, run, data, split, point.name), "its teacher"
    limits = limits_of_recipe(recipe)
    return judge(cases, full, student, limits, where=split, subject=subject, reference=reference, ran=ran)


def logits_of(runner: Runner, part: Dataset, recipe: Recipe) -> np.ndarray:
    """Logits of shape (N, K) of an active runner over a data set."""
    batches = part.inputs(_BATCH)
    found = [runner.infer(normalise(batch, recipe.preprocess), columns).logits for batch, columns in batches]
    return np.concatenate(found) if found else np.zeros((0, len(recipe.task.classes)), np.float32)


def limits_of_recipe(recipe: Recipe) -> Limits:
    """The section gate of a recipe."""
    gate = recipe.gate
    return Limits(gate.max_auc_drop, gate.rule, gate.max_sensitivity_drop, gate.max_ece)


def against_teacher(
    manifest: Manifest, found: Examined, recipe: Recipe, run: Path, rule: Rule | None = None
) -> Verdict:
    """A bundle's answers to labelled images of a clinic, against what the run's teacher says to the same images.

    Raises
    ------
    UsageError
        The run's recipe is of other images or classes.
    CheckpointError
        The teacher has no such operating point, is told other columns, or is missing.
    """
    import torch

    _check_same(manifest, recipe, "the bundle")
    cases = cases_of_samples(found.done, manifest)
    point = manifest.operating_points[0]
    full = load_checkpoint(run / "teacher")
    known = {one.name: one for one in full.card.operating_points}
    if point.name not in known:
        raise CheckpointError(
            f"{run / 'teacher'} has no operating point {point.name!r}, only {', '.join(known)}",
            next_step="put it into gate.points and fine-tune again",
        )
    if full.card.columns != manifest.columns:
        raise CheckpointError(
            f"{run / 'teacher'} is told other columns beside the image than the bundle",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )
    logits = np.zeros((0, len(manifest.classes)), np.float32)
    for start in range(0, len(found.canvases), _BATCH):
        rows = slice(start, start + _BATCH)
        given = [normalise(found.canvases[rows], recipe.preprocess)]
        given += [] if found.columns is None else [found.columns[rows]]
        with torch.inference_mode():
            logits = np.concatenate([logits, full.model(*map(torch.from_numpy, given)).numpy()])
    return judge(
        cases,
        answers_of_logits(cases, logits, full.card.temperature, known[point.name]),
        answers_of_logits(cases, found.logits, manifest.temperature, point),
        limits_of(manifest, rule),
        where="the labelled images",
        subject="the bundle",
        ran=found.ran,
    )


def _check_same(manifest: Manifest, recipe: Recipe, what: str) -> None:
    if manifest.preprocess != recipe.preprocess or manifest.classes != recipe.task.classes:
        raise UsageError(
            f"{what} was made for other images or classes than the run's recipe",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )


def _entry(folder: Path) -> Mapping[str, Any]:
    facts = read_json(folder.parent / "metrics.json")
    try:
        found: Mapping[str, Any] = facts["variants"][folder.name]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{folder.parent}/metrics.json knows no variant {folder.name!r}",
            next_step="name an ONNX file that `edgedx compress` wrote",
        ) from error
    return found


def _runner(bundle: Bundle, name: str, threads: int) -> tuple[Runner, str]:
    entry = bundle.manifest.variants.get(name)
    try:
        runner = open_runner(bundle, variant=name, threads=threads)
    except ProviderMissing:
        assert entry is not None
        runner = OnnxRunner(bundle.model(name), threads=threads, fused=entry.scheme != "trt")
        return runner, f"variant {name}, {_how(entry.scheme, entry.purpose)}"
    return runner, f"variant {name}, {_how('', 'cpu') if isinstance(runner, OnnxRunner) else 'TensorRT'}"


def _how(scheme: str, purpose: str) -> str:
    if purpose != "tensorrt":
        return "ONNX Runtime with the kernels that serve"
    pairs = ", 8-bit pairs computed in float" if scheme == "trt" else ""
    return f"ONNX Runtime instead of TensorRT, which is not here{pairs}"
