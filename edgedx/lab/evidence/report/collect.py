"""All that is known about a run, for one report: teacher, student and what ships, on the same images.

Nothing is run: every model's answers were kept when it was made. Nothing here needs torch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedx import __version__
from edgedx.core.errors import CheckpointError, UsageError
from edgedx.core.files import read_json
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Answers, Cases, answers_of_logits
from edgedx.core.stats.paired import Comparison, compare
from edgedx.core.stats.points import OperatingPoint
from edgedx.core.stats.resample import RESAMPLES
from edgedx.lab.data.dataset import load_dataset
from edgedx.lab.judge.disparity import Disparity, disparity
from edgedx.lab.judge.figures import Figures, figures_with_intervals
from edgedx.lab.run.stage import RECORD, read_record


@dataclass(frozen=True)
class JudgedModel:
    """One model of the run on the report's images.

    Attributes
    ----------
    name : str
        teacher, student, int8-u8s8 ...
    facts : dict
        ``bytes`` of its file, ``parameters``, ``backbone``, ``history``: those that are known.
    """

    name: str
    answers: Answers
    figures: Figures
    parts: Disparity
    facts: dict[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """What a report tells.

    Attributes
    ----------
    shipped : JudgedModel
        What would ship or ships: the last of `models`.
    lost : Comparison or None
        Teacher against `shipped`; None where nothing is compressed.
    verdict : dict or None
        The gate's, as gate.json has it; None where it was not asked.
    """

    run: Path
    recipe: Recipe
    split: str
    cases: Cases
    models: list[JudgedModel]
    shipped: JudgedModel
    lost: Comparison | None
    data: dict[str, Any]
    verdict: dict[str, Any] | None
    bundle: dict[str, Any] | None
    made: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the twin of the page; images and patients are counted, never named."""
        recipe = self.recipe
        return {
            "schema_version": 1,
            "title": recipe.title,
            "name": recipe.name,
            "version": recipe.version,
            "not_a_medical_device": True,
            "synthetic": recipe.synthetic,
            "edgedx": __version__,
            "written": self.made["written"],
            "split": self.split,
            "data": self.data,
            "licences": recipe.licences,
            "shipped": self.shipped.name,
            "models": [
                {
                    "name": one.name,
                    **{key: value for key, value in one.facts.items() if key != "history"},
                    "operating_point": {"name": one.answers.point, "threshold": dict(one.answers.thresholds)},
                    **one.figures.to_dict(),
                    **one.parts.to_dict(),
                }
                for one in self.models
            ],
            "teacher_against_shipped": self.lost.whole.to_dict() if self.lost else None,
            "subgroups_teacher_against_shipped": [part.to_dict() for part in self.lost.subgroups] if self.lost else [],
            "gate": self.verdict,
            "bundle": self.bundle,
            "made_with": self.made,
        }


def collect(recipe: Recipe, run: Path, *, split: str = "test", resamples: int = RESAMPLES) -> RunFacts:
    """Read a run's records and answers, and judge each of its models on one split.

    Raises
    ------
    UsageError
        There is no teacher yet.
    CheckpointError
        Answers are of another data set than the run's.
    """
    if not (run / "teacher" / RECORD).is_file():
        raise UsageError(f"{run} has no teacher yet", next_step="edgedx finetune RECIPE")
    data = load_dataset(run / "data", recipe.task.kind, recipe.preprocess)
    part = data.subset(split)
    task = recipe.task
    cases = Cases(part.names, part.patients, part.labels, part.subgroups, task.kind, task.classes, task.positive)
    models = [_judge(stored, cases, _logits(stored, split, cases, data.digest), resamples) for stored in _stored(run)]
    bundle = _record(run / "bundle")
    shipped = _shipped(models, bundle)
    ordered = [one for one in models if one is not shipped] + [shipped]
    teacher = next(one for one in models if one.name == "teacher")
    lost = compare(cases, teacher.answers, shipped.answers) if shipped is not teacher else None
    return RunFacts(
        run=run,
        recipe=recipe,
        split=split,
        cases=cases,
        models=ordered,
        shipped=shipped,
        lost=lost,
        data={key: value for key, value in read_json(run / "data" / "dataset.json").items() if key != "digest"},
        verdict=_verdict(run, bundle, shipped.name),
        bundle=_bundle_facts(bundle),
        made=_made(run),
    )


@dataclass(frozen=True)
class StoredModel:
    """A finished model of the run, with the logits that were kept when it was made in `folder`."""

    name: str
    folder: Path
    record: dict[str, Any]
    temperature: float
    point: OperatingPoint
    facts: dict[str, Any]


def _stored(run: Path) -> list[StoredModel]:
    """Every finished model of a run whose answers are kept."""
    stored: list[StoredModel] = []
    for role in ("teacher", "student"):
        folder = run / role
        if not (folder / RECORD).is_file():
            continue
        card, metrics = read_json(folder / "model.json"), read_json(folder / "metrics.json")
        point = (card.get("operating_points") or [{"name": "argmax", "threshold": {}}])[0]
        facts = {
            "backbone": card["backbone"],
            "weights_from": card["weights_from"],
            "parameters": metrics.get("parameters"),
            "bytes": (folder / "model.safetensors").stat().st_size,
            "history": metrics.get("history", []),
        }
        point = OperatingPoint.model_validate(point)
        stored.append(StoredModel(role, folder, read_record(folder), float(card["temperature"]), point, facts))
    folder = next((run / name for name in ("int8", "onnx") if (run / name / RECORD).is_file()), None)
    if folder is not None:
        variants = read_json(folder / "metrics.json")["variants"]
        for name, entry in variants.items():
            if not (folder / name / "logits.npz").is_file():
                continue
            point = OperatingPoint.model_validate(entry["operating_points"][0])
            facts = {"bytes": entry.get("bytes"), "precision": entry["precision"], "scheme": entry["scheme"]}
            temperature = float(entry["temperature"])
            stored.append(StoredModel(name, folder / name, read_record(folder), temperature, point, facts))
    return stored


def _logits(stored: StoredModel, split: str, cases: Cases, digest: str) -> np.ndarray:
    folder = stored.folder
    if stored.record["inputs"].get("data") != digest:
        raise CheckpointError(
            f"{folder} answered another data set than the one in the run",
            next_step="make the stage again, or restore run/data",
        )
    try:
        with np.load(folder / "logits.npz", allow_pickle=False) as archive:
            logits = np.asarray(archive[split])
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{folder}/logits.npz cannot be read: {error}", next_step="make the stage again"
        ) from error
    if logits.shape != (len(cases), len(cases.classes)) or not np.isfinite(logits).all():
        raise CheckpointError(f"{folder}/logits.npz does not answer {split}", next_step="make the stage again")
    return logits


def _judge(stored: StoredModel, cases: Cases, logits: np.ndarray, resamples: int) -> JudgedModel:
    answers = answers_of_logits(cases, logits, stored.temperature, stored.point)
    figures = figures_with_intervals(cases, answers, resamples=resamples)
    return JudgedModel(stored.name, answers, figures, disparity(cases, answers, resamples=resamples), stored.facts)


def _shipped(models: Sequence[JudgedModel], bundle: dict[str, Any] | None) -> JudgedModel:
    """The bundle's own variant; else what would be judged before shipping: the last INT8 variant, else the last."""
    named = {one.name: one for one in models}
    chosen = (bundle or {}).get("metrics", {}).get("default", {}).get("variant")
    if chosen in named:
        return named[chosen]
    return next((one for one in reversed(models) if one.name.startswith("int8")), models[-1])


def _record(folder: Path) -> dict[str, Any] | None:
    return read_record(folder) if (folder / RECORD).is_file() else None


def _verdict(run: Path, bundle: dict[str, Any] | None, shipped: str) -> dict[str, Any] | None:
    """The gate's word on what ships; one on another variant only where there is no other."""
    path = run / "gate" / "gate.json"
    latest: dict[str, Any] | None = read_json(path) if path.is_file() else None
    built: dict[str, Any] | None = (bundle or {}).get("metrics", {}).get("gate")
    if latest is not None and f"variant {shipped}," in latest.get("ran", ""):
        return latest
    return built or latest


def _bundle_facts(bundle: dict[str, Any] | None) -> dict[str, Any] | None:
    if bundle is None:
        return None
    metrics = bundle["metrics"]
    keys = ("bytes", "digest", "default", "warnings")
    return {
        "file": Path(metrics["bundle"]).name,
        "profile": bundle["settings"].get("profile"),
        **{key: metrics[key] for key in keys if key in metrics},
    }


def _made(run: Path) -> dict[str, Any]:
    records = [read_record(folder) for folder in sorted(run.iterdir()) if (folder / RECORD).is_file()]
    hours = sum(float(record.get("wall_seconds", 0)) for record in records) / 3600
    teacher = read_record(run / "teacher")
    return {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": teacher.get("machine"),
        "versions": teacher.get("versions", {}),
        "hours_of_all_stages": round(hours, 3),
    }
