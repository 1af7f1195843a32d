"""All that is known about a run, for one report: teacher, student and what ships, on the same images.

Nothing is run: every model's answers were kept when it was made. Nothing here needs torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedx._version import __version__
from edgedx.core.errors import CheckpointError, UsageError
from edgedx.core.files import read_json
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import Cases, Predictions, predictions_of_logits
from edgedx.core.stats.gate import RECORD as VERDICT
from edgedx.core.stats.paired import Comparison, compare
from edgedx.core.stats.points import OperatingPoint
from edgedx.core.stats.resample import RESAMPLES
from edgedx.lab.data.dataset import SUMMARY, load_dataset
from edgedx.lab.data.start.shortcuts import Shortcuts, shortcuts_of_run
from edgedx.lab.judge.disparity import Disparity, disparity
from edgedx.lab.judge.figures import Figures, figures_with_intervals
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.renew import renewal
from edgedx.lab.run.run import Run
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
    answers: Predictions
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

    run: Run
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
    shortcuts: Shortcuts

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
            "shortcuts": self.shortcuts.to_dict(),
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


def collect(
    recipe: Recipe, run: Path | Run, *, split: str = "test", device: str | None = None, resamples: int = RESAMPLES
) -> RunFacts:
    """Read a run's records and answers, and judge each of its models on one split.

    Parameters
    ----------
    device : str, optional
        Device profile, where the run serves several.

    Raises
    ------
    UsageError
        There is no teacher yet, or several devices and none was named.
    CheckpointError
        Answers are of another data set than the run's.
    """
    run = Run.of(run)
    if not run.teacher.finished:
        raise UsageError(
            f"{run} has no finished teacher", next_step=renewal(run.teacher.path / RECORD) or "edgedx finetune RECIPE"
        )
    data = load_dataset(run.data, recipe.task.kind, recipe.preprocess)
    part = data.subset(split)
    build = run.build(device) if run.builds or device else None
    task = recipe.task
    cases = Cases(
        part.names, part.patients, part.labels, part.subgroups, task.kind, task.classes, task.positive, task.ordered
    )
    stored = _stored(run, build, split, data.digest)
    models = [_judge(one, cases, resamples) for one in stored]
    bundle = build.bundle_record if build is not None else None
    shipped = next(one for one in models if one.name == (build.shipped.name if build else stored[-1].name))
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
        data={key: value for key, value in read_json(run.data / SUMMARY).items() if key != "digest"},
        verdict=_verdict(build, bundle),
        bundle=_bundle_facts(bundle),
        made=_made(run, build),
        shortcuts=shortcuts_of_run(run, recipe),
    )


@dataclass(frozen=True)
class StoredModel:
    """A finished model of the run, with the logits (N, K) that it gave to the split."""

    name: str
    logits: np.ndarray
    temperature: float
    point: OperatingPoint
    facts: dict[str, Any]


def _stored(run: Run, build: DeviceBuild | None, split: str, digest: str) -> list[StoredModel]:
    stored = []
    for model in (run.teacher, run.student):
        if not model.finished:
            continue
        card, metrics = model.card, model.metrics
        facts = {
            "backbone": card.backbone,
            "weights_from": card.weights_from,
            "parameters": metrics.get("parameters"),
            "bytes": model.weight_bytes,
            "history": metrics.get("history", []),
        }
        point = (card.operating_points or [OperatingPoint(name="argmax", threshold={})])[0]
        logits = model.logits(split, digest=digest)[split]
        stored.append(StoredModel(model.path.name, logits, card.temperature, point, facts))
    for name, variant in (build.variants if build is not None else {}).items():
        assert build is not None
        facts = {key: variant.entry.get(key) for key in ("bytes", "precision", "scheme")}
        logits = build.logits(name, digest, split)[split]
        stored.append(StoredModel(name, logits, variant.temperature, variant.points[0], facts))
    return stored


def _judge(model: StoredModel, cases: Cases, resamples: int) -> JudgedModel:
    if model.logits.shape != (len(cases), len(cases.classes)) or not np.isfinite(model.logits).all():
        raise CheckpointError(
            f"the logits kept of {model.name} are not those of this data set",
            next_step="make the stage again, with --overwrite",
        )
    answers = predictions_of_logits(cases, model.logits, model.temperature, model.point)
    figures = figures_with_intervals(cases, answers, resamples=resamples)
    return JudgedModel(model.name, answers, figures, disparity(cases, answers, resamples=resamples), model.facts)


def _verdict(build: DeviceBuild | None, bundle: dict[str, Any] | None) -> dict[str, Any] | None:
    """The last verdict on what ships: asked for by `edgedx gate`, else by `edgedx deploy`."""
    if build is None:
        return None
    path = build.gate_folder / VERDICT
    latest: dict[str, Any] | None = read_json(path) if path.is_file() else None
    built: dict[str, Any] | None = (bundle or {}).get("metrics", {}).get("gate")
    if latest is not None and f"variant {build.shipped.name}," in latest.get("ran", ""):
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


def _made(run: Run, build: DeviceBuild | None) -> dict[str, Any]:
    folders = [run.data, run.teacher.path, run.student.path]
    folders += [build.variants_folder, build.bundle_folder] if build is not None else []
    records = [read_record(folder) for folder in folders if (folder / RECORD).is_file()]
    hours = sum(float(record.get("wall_seconds", 0)) for record in records) / 3600
    teacher = run.teacher.record
    return {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": teacher.get("machine"),
        "versions": teacher.get("versions", {}),
        "hours_of_all_stages": round(hours, 3),
    }
