"""The gate where the model will serve: a bundle's own runner over labelled images. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.errors import DataError, ImageError
from edgedx.core.preprocess import Canvas, normalise
from edgedx.core.progress import track
from edgedx.core.stats.cases import calibrated_probabilities, predictions_of_logits
from edgedx.core.stats.gate import Limits, Rule, Verdict, judge
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.decode.accept import acceptable
from edgedx.device.decode.decoder import DecodedCanvas, Decoder, FileChanged
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.predict import columns_of

from .promise import ClinicEvaluation, judge_answers
from .samples import Sample, cases_of_samples, read_predictions

_BATCH = 16


@dataclass(frozen=True)
class Examined:
    """What a bundle said to samples.

    Attributes
    ----------
    answers : dict
        By SHA-256 of the image, as `promise.judge_answers` takes them.
    done : list of Sample
        Those that were answered, in order.
    canvases : ndarray of shape (len(done), H, W) or (len(done), H, W, 3)
        What the model saw, for another model to see the same.
    logits : ndarray of shape (len(done), classes), float32
    ran : str
        Variant and provider.
    columns : ndarray of shape (len(done), T), float32, optional
        What the model was told beside each image, from its header, as a scanner does; None where it takes none.
    """

    answers: dict[str, dict[str, Any]]
    done: list[Sample]
    canvases: Canvas
    logits: NDArray[np.float32]
    ran: str
    columns: NDArray[np.float32] | None = None


def examine_samples(
    bundle: Bundle, samples: Sequence[Sample], *, variant: str | None = None, threads: int = 0
) -> Examined:
    """Read labelled images as the scanner does, in a disposable process, and ask the model.

    Raises
    ------
    DataError
        None of them was answered.
    ProviderMissing
        The variant needs a runtime that this machine has not.
    """
    manifest = bundle.manifest
    name = variant or manifest.default_variant
    with open_runner(bundle, variant=name, threads=threads) as runner:  # a missing runtime is said before the reading
        opened, answers = _read(manifest, samples)
        done: list[Sample] = []
        canvases: list[Canvas] = []
        logits: list[NDArray[np.float32]] = []
        beside_all: list[NDArray[np.float32]] = []
        for start in range(0, len(opened), _BATCH):
            batch = opened[start : start + _BATCH]
            begun = time.perf_counter()
            columns = columns_of(manifest.columns, [found.meta for _, found in batch])
            images = normalise(np.stack([found.canvas for _, found in batch]), manifest.preprocess)
            rows = (runner.infer(images, columns) if manifest.columns else runner.infer(images)).logits
            infer_ms = 1e3 * (time.perf_counter() - begun) / len(batch)
            for (sample, found), row, beside in zip(batch, rows, columns, strict=True):
                probabilities = calibrated_probabilities(row, manifest.task, manifest.temperature)
                if not np.isfinite(probabilities).all():
                    answers[sample.sha256] = _refusal("NOT_A_NUMBER")
                    continue
                answers[sample.sha256] = {
                    "status": "done",
                    "probabilities": dict(zip(manifest.classes, map(float, probabilities), strict=True)),
                    "reason": None,
                    "decode_ms": found.decode_ms,
                    "preprocess_ms": found.preprocess_ms,
                    "infer_ms": infer_ms,
                }
                done.append(sample)
                canvases.append(found.canvas)
                logits.append(row)
                beside_all.append(beside)
        provider = runner.provider
    if not done:
        codes = ", ".join(sorted({str(one["reason"]) for one in answers.values()}))
        raise DataError(f"none of {len(samples)} samples was answered ({codes})", next_step="see `edgedx doctor`")
    known = np.stack(beside_all) if manifest.columns else None
    return Examined(answers, done, np.stack(canvases), np.stack(logits), f"variant {name}, {provider}", known)


def _read(
    manifest: Manifest, samples: Sequence[Sample]
) -> tuple[list[tuple[Sample, DecodedCanvas]], dict[str, dict[str, Any]]]:
    opened, refused = [], {}
    policy = manifest.accept.multi_frame
    # The promise is of single images: an object's label says nothing of each of its frames.
    decoder = Decoder(manifest.preprocess, frames="refuse" if policy == "each" else policy)
    try:
        for sample in track(samples, "reading images", len(samples)):
            try:
                found = decoder.decode(sample.path, sample.sha256)
            except ImageError as error:
                refused[sample.sha256] = _refusal(error.code)
                continue
            except FileChanged:
                refused[sample.sha256] = _refusal("CHANGED")
                continue
            reason = acceptable(manifest.accept, found.meta, found.height, found.width)
            if reason is None:
                opened.append((sample, found))
            else:
                refused[sample.sha256] = _refusal(reason.code)
    finally:
        decoder.close()
    return opened, refused


def _refusal(code: str) -> dict[str, Any]:
    return {"status": "refused", "probabilities": None, "reason": code,
            "decode_ms": None, "preprocess_ms": None, "infer_ms": None}  # fmt: skip


def limits_of(manifest: Manifest, rule: Rule | None = None) -> Limits:
    """The limits that a bundle was made under; `rule` replaces its own."""
    gate = manifest.gate
    sensitivity, ece, least = (gate.get(name) for name in ("max_sensitivity_drop", "max_ece", "least_auc"))
    return Limits(
        max_auc_drop=float(gate.get("budget", 0.0)),
        rule=rule or cast(Rule, gate.get("rule", "non-inferior")),
        max_sensitivity_drop=None if sensitivity is None else float(sensitivity),
        max_ece=None if ece is None else float(ece),
        least_auc=None if least is None else float(least),
    )


def against_promise(
    manifest: Manifest, samples: Sequence[Sample], examined: Examined, point: OperatingPoint | None = None
) -> ClinicEvaluation:
    """What was answered here, against what the bundle promises (see `judge_answers`)."""
    return judge_answers(manifest, samples, examined.answers, point)


def against_table(
    manifest: Manifest,
    examined: Examined,
    table: Path,
    rule: Rule | None = None,
    point: OperatingPoint | None = None,
) -> Verdict:
    """What was answered here, against another model's answers in a CSV file (see `read_predictions`).

    Both are decided at `point`, the manifest's first unless given, where the file says not how the other one decided.
    """
    cases = cases_of_samples(examined.done, manifest)
    point = point or manifest.operating_points[0]
    return judge(
        cases,
        read_predictions(table, cases, point.threshold),
        predictions_of_logits(cases, examined.logits, manifest.temperature, point),
        limits_of(manifest, rule),
        where="the labelled images",
        subject="the bundle",
        reference=f"the answers in {table.name}",
        ran=examined.ran,
    )
