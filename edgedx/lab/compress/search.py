"""Search of the student that holds a budget of accuracy and latency: every candidate trained, run and measured.

What comes out is a run as `compress` makes it, so that all that follows is the same. Beside the device's variants,
`candidates.json` has every candidate with its figures, ``candidates/`` their files, and `candidates.png` the picture.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgedx.core.errors import AlreadyExists, GateRefused
from edgedx.core.files import read_json, write_json
from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.judge.gate import Judge
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.pruned import count_macs
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.plots import candidates_plot
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine

from .budget import Budget, Candidate, choose, explain, nearest, next_share, shortfall
from .compress import compress
from .probe import Probe, probe, quick_int8, share_for_latency, time_models
from .search_plan import backbones_of, check_measurable

FOLDER, SUMMARY, PICTURE = "candidates", "candidates.json", "candidates.png"
_SECONDS = 2.0  # of timing, for each model of the last comparison


def search(
    recipe: Recipe,
    run: Path | Run,
    profile: DeviceProfile,
    budget: Budget,
    *,
    int8: bool,
    here: bool,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Find the student that holds `budget`, make it the run's student, and return what `candidates.json` holds.

    Finished candidates of the same recipe are read, not repeated, also those of an earlier search with another budget.

    Parameters
    ----------
    here : bool
        Whether this machine is the device. Elsewhere its latency stands in for the device's, and the record says so.

    Raises
    ------
    GateRefused
        No candidate holds it; says by how much the nearest one misses. The run's student stays as it was.
    AlreadyExists
        The run has a student that no search put there, variants for other devices, or candidates of other settings.
    UsageError
        A latency budget for a device whose runtime this machine has not.
    """
    return _Search(recipe, Run.of(run), profile, budget, int8, here).work(resume, overwrite)


class _Search:
    def __init__(
        self, recipe: Recipe, run: Run, profile: DeviceProfile, budget: Budget, int8: bool, here: bool
    ) -> None:
        check_measurable(profile, budget)
        self.recipe, self.run, self.profile, self.budget = recipe, run, profile, budget
        self.build = run.build_for(profile.name)
        self.int8, self.here = int8, here
        self.teacher = load_checkpoint(run.teacher.path)
        self.data: Dataset = open_data(recipe, run)
        self.teacher_macs = count_macs(self.teacher.model, recipe.preprocess)
        self.teacher_onnx = export_onnx(self.teacher.model, recipe.preprocess)
        self.candidates: list[Candidate] = []
        self.recipes: dict[str, Recipe] = {}
        self.models: dict[str, bytes] = {}
        self.probes: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.resume = False
        self._teacher: dict[str, Any] = {}

    def work(self, resume: bool, overwrite: bool) -> dict[str, Any]:
        """Try, choose, promote, write."""
        begun = time.monotonic()
        self._check_run(overwrite)
        if overwrite:
            shutil.rmtree(self.build.path / FOLDER, ignore_errors=True)
        self.resume = resume
        for backbone in backbones_of(self.recipe):
            self._try(backbone)
            if choose(self.candidates, self.budget):
                break
        if not self.candidates:
            raise GateRefused(
                f"nothing fits {self.budget.sentence()}: {'; '.join(self.notes)}",
                next_step="allow more latency, or name a smaller backbone in search.backbones",
            )
        teacher = self._teacher = self._time_all()
        chosen = choose(self.candidates, self.budget)
        report = {
            "schema_version": 1,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine(),
            "device": self.profile.name,
            "latency_of": "this machine, which is the device"
            if self.here
            else "this machine; not measured on the device",
            "budget": asdict(self.budget),
            "rule": self.recipe.gate.rule,
            "split": self.recipe.gate.split,
            "teacher": teacher,
            "probes": self.probes,
            "candidates": [asdict(one) | {"over": one.over(self.budget)} for one in self.candidates],
            "notes": self.notes,
            "seconds": round(time.monotonic() - begun, 1),
            "chosen": asdict(chosen) if chosen else None,
            "explanation": explain(chosen, self.candidates, self.budget, teacher) if chosen else [],
            "promoted": self._promote(chosen) if chosen else None,
        }
        write_json(self.build.path / SUMMARY, report)
        self._draw(report)
        if chosen is None:
            best = nearest(self.candidates, self.budget)
            raise GateRefused(
                f"no candidate holds {self.budget.sentence()}: {shortfall(best, self.budget)}",
                next_step=f"see {self.build.path / SUMMARY}; allow what is missed, distil longer (student.epochs), "
                "or name more backbones (search.backbones)",
            )
        return report | {"recipe": self.recipes[chosen.name]}

    def _check_run(self, overwrite: bool) -> None:
        """Refused before the long work: a student that a search may not replace, or that other devices were given."""
        others = [one.profile for one in self.run.builds if one.profile != self.profile.name]
        if overwrite or not (self.build.finished or others):
            return
        if others:
            raise AlreadyExists(
                f"{self.run} is compressed for {', '.join(others)} too, and all devices share the student that a "
                "search replaces",
                next_step="search in a run of its own, or replace the student with --overwrite",
            )
        summary = self.build.path / SUMMARY
        promoted = read_json(summary).get("promoted") if summary.is_file() else None
        if promoted != self.build.record["fingerprint"]:
            raise AlreadyExists(
                f"{self.run} holds a student that no search made", next_step="replace it with --overwrite"
            )

    # Trying

    def _try(self, backbone: str) -> None:
        budget, options = self.budget, self.recipe.search
        if budget.max_latency_ms is not None:
            share = self._share_for_latency(backbone, budget.max_latency_ms)
            if share is None:
                return
            made = self._candidate(backbone, share)
            slow = min(one.latency_ms for one in made) / budget.max_latency_ms
            if slow > 1 and share / slow > options.least_macs:  # its channels fell otherwise than the probe's
                self._candidate(backbone, 0.95 * share / slow)
        elif budget.max_macs is not None:
            backbone_macs = self.teacher_macs if backbone == "same" else self._own_macs(backbone)
            self._candidate(backbone, min(1.0, budget.max_macs * self.teacher_macs / backbone_macs))
        else:
            tried: list[tuple[float, bool]] = []
            while len(tried) < options.tries:
                share = next_share(tried, self.recipe.student.macs, options.least_macs)
                if share is None:
                    break
                made = self._candidate(backbone, share)
                tried.append((share, any(one.accurate for one in made)))

    def _of(self, backbone: str, share: float) -> Recipe:
        update: dict[str, Any] = {"macs": round(share, 3), "backbone": backbone}
        if backbone != "same":
            update["weights"] = "auto" if self.recipe.student.weights == "teacher" else self.recipe.student.weights
        return self.recipe.model_copy(update={"student": self.recipe.student.model_copy(update=update)})

    def _share_for_latency(self, backbone: str, budget_ms: float) -> float | None:
        train = self.data.subset("train")
        to_int8 = quick_int8(train, self.recipe, self.profile) if self.int8 else None

        def measure(share: float) -> Probe:
            return probe(self._of(backbone, share), self.teacher, train, share, to_int8)

        share, probes = share_for_latency(measure, budget_ms, self.recipe.search.least_macs)
        self.probes += [{"backbone": backbone, **asdict(one)} for one in probes]
        if share is None:
            least = min((one.latency_ms for one in probes), default=float("nan"))
            self.notes.append(f"{backbone} takes {least:.2f} ms at the least")
        return share

    def _own_macs(self, backbone: str) -> int:
        model = build_model(backbone, len(self.recipe.task.classes), self.recipe.preprocess)
        return count_macs(model, self.recipe.preprocess)

    def _candidate(self, backbone: str, share: float) -> list[Candidate]:
        """Train, quantize, judge and time one student; every variant of it that could ship is a candidate."""
        recipe = self._of(backbone, share)
        shown = self.teacher.card.backbone if backbone == "same" else backbone
        name = f"{shown}-{round(100 * recipe.student.macs)}"
        made = DeviceBuild(self.build.path / FOLDER / name)
        record = compress(recipe, self.run, self.profile, int8=self.int8, candidate=made.path, resume=self.resume)
        self.recipes[name] = recipe
        purpose = "cpu" if self.profile.target == "cpu" else "tensorrt"
        variants = {key: one for key, one in made.variants.items() if one.entry["purpose"] == purpose}
        # What TensorRT will do is not known here; the FP32 graph on this CPU orders the structures by size.
        files = {key: one.path if purpose == "cpu" else made.variants["fp32"].path for key, one in variants.items()}
        timed = {key: path.read_bytes() for key, path in files.items()}
        times = time_models(timed, recipe.preprocess.input_shape, 1.0)
        judge = Judge(recipe, self.run, self.data)
        tried = []
        for key, one in variants.items():
            verdict = judge.variant(one, subject=f"{name} {key}")
            drop = verdict.comparison.whole.auc if verdict.comparison else None
            tried.append(
                Candidate(
                    name=name,
                    backbone=shown,
                    variant=key,
                    macs=record["student"]["macs"] / self.teacher_macs,
                    megabytes=one.entry["bytes"] / 1e6,
                    latency_ms=times[key],
                    auc=drop.student.value if drop else float("nan"),
                    auc_drop=drop.drop.value if drop else float("nan"),
                    accurate=verdict.passed,
                    sentence=verdict.sentence,
                )
            )
            self.models[f"{name} {key}"] = timed[key]
        self.candidates += tried
        return tried

    # Choosing

    def _time_all(self) -> dict[str, Any]:
        """Time the teacher and all candidates once more, by turns in one run, and return the teacher's figures."""
        times = time_models({"teacher": self.teacher_onnx} | self.models, self.recipe.preprocess.input_shape, _SECONDS)
        self.candidates = [replace(one, latency_ms=times[f"{one.name} {one.variant}"]) for one in self.candidates]
        first = self.candidates[0]
        return {
            "latency_ms": times["teacher"],
            "megabytes": len(self.teacher_onnx) / 1e6,
            "auc": first.auc + first.auc_drop,
        }

    def _promote(self, chosen: Candidate) -> str:
        """Copy the chosen student and its variants to where `compress` puts them; returns their fingerprint."""
        source = DeviceBuild(self.build.path / FOLDER / chosen.name)
        reason = f"chosen by the search: {explain(chosen, self.candidates, self.budget, self._teacher)[0]}"
        source.choose(chosen.variant, reason)
        for made, target in (
            (source.path / "student", self.run.student.path),
            (source.variants_folder, self.build.variants_folder),
        ):
            fresh = target.with_name(f".{target.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(made, fresh)
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
        return str(self.build.record["fingerprint"])

    def _draw(self, report: dict[str, Any]) -> None:
        chosen = report["chosen"]
        rows = [
            one | {"chosen": bool(chosen) and (one["name"], one["variant"]) == (chosen["name"], chosen["variant"])}
            for one in report["candidates"]
        ]
        candidates_plot(
            rows,
            self.build.path / PICTURE,
            teacher_auc=report["teacher"]["auc"],
            max_drop=self.budget.max_auc_drop,
            max_ms=self.budget.max_latency_ms,
            title=f"{self.recipe.title}\nbudget: {self.budget.sentence()}",
        )
