"""What a bundle promised, against what a device answered to labelled images of a clinic. No input or output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import Manifest
from edgedx.core.errors import DataError
from edgedx.core.stats.cases import Cases, Predictions, predictions_of
from edgedx.core.stats.metrics import Interval
from edgedx.core.stats.paired import figures_of
from edgedx.core.stats.points import OperatingPoint

from .samples import Sample, cases_of_samples


@dataclass(frozen=True)
class ClinicEvaluation:
    """What the device's answers to the samples are worth.

    Attributes
    ----------
    auc, sensitivity, specificity : Interval
        With 95 % bootstrap intervals over patients; the latter two of a binary task's positive class, at the
        operating point, else None.
    accuracy : float or None
        Of the likeliest class; None for multilabel tasks.
    ece, brier : float or None
        Calibration error and Brier score.
    promised_auc and so on : float or None
        Of the bundle's manifest, on its test split.
    infer_ms, image_ms : float
        Median of inference alone, and of decoding, preprocessing and inference together, on the device.
    operating_point : str
        Name of the one that was judged; local is the site's own.
    """

    samples: int
    answered: int
    auc: Interval
    accuracy: float | None
    promised_auc: float | None
    promised_accuracy: float | None
    budget: float
    infer_ms: float
    image_ms: float
    passed: bool
    sentence: str
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    promised_sensitivity: float | None = None
    promised_specificity: float | None = None
    ece: float | None = None
    brier: float | None = None
    promised_ece: float | None = None
    promised_brier: float | None = None
    operating_point: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON: NaN becomes null."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def rows(self) -> list[tuple[str, str, str]]:
        """(figure, here, promised) for a table."""
        found: list[tuple[str, Interval | float | None, float | None]] = [
            ("AUC", self.auc, self.promised_auc),
            ("accuracy", self.accuracy, self.promised_accuracy),
            ("sensitivity", self.sensitivity, self.promised_sensitivity),
            ("specificity", self.specificity, self.promised_specificity),
            ("ECE", self.ece, self.promised_ece),
            ("Brier score", self.brier, self.promised_brier),
        ]
        return [(name, _shown(here), _shown(promised)) for name, here, promised in found if here is not None]


def answered(samples: Sequence[Sample], answers: Mapping[str, dict[str, Any]]) -> list[Sample]:
    """The samples that the device answered."""
    return [sample for sample in samples if answers.get(sample.sha256, {}).get("status") == "done"]


def answers_of_device(
    manifest: Manifest,
    cases: Cases,
    samples: Sequence[Sample],
    answers: Mapping[str, dict[str, Any]],
    point: OperatingPoint | None = None,
) -> Predictions:
    """Answers to `samples`, all of which were answered, at an operating point; the manifest's first unless given."""
    chosen = point or manifest.operating_points[0]
    probabilities = [[answers[one.sha256]["probabilities"][name] for name in manifest.classes] for one in samples]
    return predictions_of(cases, np.array(probabilities, np.float64), chosen.threshold, point=chosen.name)


def judge_answers(
    manifest: Manifest,
    samples: Sequence[Sample],
    answers: Mapping[str, dict[str, Any]],
    point: OperatingPoint | None = None,
) -> ClinicEvaluation:
    """Compare a device's answers with the labels, and with what the bundle promises.

    The gate says no when a sample was not answered, or when the AUC is lower than promised by more than the budget
    and by more than chance explains: the upper end of its 95 % interval lies below the promised AUC less the budget.
    Sensitivity is judged in the same way where the bundle carries a limit for it.

    Parameters
    ----------
    answers : mapping of str to dict
        By SHA-256 of the image: ``status``, ``probabilities``, ``reason``, and times in milliseconds.
    point : OperatingPoint, optional
        The one in force; the manifest's first unless given.

    Raises
    ------
    DataError
        The device answered to no sample, or to samples of one label only.
    """
    done = answered(samples, answers)
    kept = {sample.sha256 for sample in done}
    reasons = Counter(str(answers.get(sample.sha256, {}).get("reason") or "no answer") for sample in samples
                      if sample.sha256 not in kept)  # fmt: skip
    refused = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items()))
    if len({sample.labels for sample in done}) < 2:
        raise DataError(
            f"the device answered {len(done)} of {len(samples)} samples ({refused}): too few to judge",
            next_step="give samples that the bundle accepts",
        )
    cases = cases_of_samples(done, manifest)
    said = answers_of_device(manifest, cases, done, answers, point)
    figures, calibration = figures_of(cases, said)
    area = figures["auc"]
    accuracy = None
    if manifest.task != "multilabel":
        accuracy = float((said.probabilities.argmax(axis=1) == cases.labels).mean())
    promises = manifest.metrics
    budget = float(manifest.gate.get("budget", 0.0))
    allowed = manifest.gate.get("max_sensitivity_drop")
    sensitivity, specificity = figures.get("sensitivity"), figures.get("specificity")
    parts = [_told("AUC", area, promises.get("test_auc"), budget)]
    if sensitivity is not None and allowed is not None:
        parts.append(_told("sensitivity", sensitivity, promises.get("test_sensitivity"), float(allowed)))
    sentence = "; ".join([text for text, _ in parts] + ([f"not answered: {refused}"] if refused else []))
    times = [answers[one.sha256] for one in done]
    steps = ("decode_ms", "preprocess_ms", "infer_ms")
    return ClinicEvaluation(
        samples=len(samples),
        answered=len(done),
        auc=area,
        accuracy=accuracy,
        promised_auc=promises.get("test_auc"),
        promised_accuracy=promises.get("test_accuracy"),
        budget=budget,
        infer_ms=float(np.median([one["infer_ms"] or 0.0 for one in times])),
        image_ms=float(np.median([sum(one[step] or 0.0 for step in steps) for one in times])),
        passed=not reasons and all(held for _, held in parts),
        sentence=sentence,
        sensitivity=sensitivity,
        specificity=specificity,
        promised_sensitivity=promises.get("test_sensitivity"),
        promised_specificity=promises.get("test_specificity"),
        ece=calibration["ece"],
        brier=calibration["brier"],
        promised_ece=promises.get("test_ece"),
        promised_brier=promises.get("test_brier"),
        operating_point=said.point,
    )


def _told(word: str, interval: Interval, promised: float | None, budget: float) -> tuple[str, bool]:
    """A figure beside its promise, and whether the promise holds; a figure that is not a number breaks it."""
    if promised is None:
        return f"{word} on the samples is {interval}; the bundle promises none", True
    held = bool(interval.high >= promised - budget)
    verb = "within" if held else "over"
    return (
        f"{word} on the samples is {interval}; the bundle promises {promised:.3f}: "
        f"what is lost is {verb} the budget of {budget:g}",
        held,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value.to_dict()
    return None if isinstance(value, float) and np.isnan(value) else value


def _shown(value: Interval | float | None) -> str:
    if isinstance(value, Interval):
        return str(value)
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"
