"""Teacher to student: prune, choose a temperature, distil; and, where asked for, the control without a teacher."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgedx.core.files import write_text
from edgedx.core.progress import tell
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint
from edgedx.lab.network.pruned import count_macs
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.card import CARD
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.distil import Distil, contrast_for, method_for
from edgedx.lab.train.finish import finish
from edgedx.lab.train.loop import fit
from edgedx.lab.train.phase import Outcome, Phase, Training
from edgedx.lab.train.processes import is_main, wait_for_all
from edgedx.lab.train.tasks import Classify, TrainingTask

from .committee import Committee, Mirrored
from .control import control_stage, with_gain
from .start import make_start, open_start, recovery_phases
from .time_left import RemainingSteps
from .trials import best, try_temperatures

START, WORK = "pruned", "work"


def make_student(
    recipe: Recipe,
    teacher: Checkpoint,
    data: Dataset,
    folder: Path,
    *,
    unlabeled: Dataset | None = None,
    more_teachers: Sequence[Checkpoint] = (),
    ablate: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train the student into `folder` and return the stage's record.

    Parameters
    ----------
    unlabeled : Dataset, optional
        Further images, from `open_unlabeled`; learned from the teacher alone.
    more_teachers : sequence of Checkpoint
        From `committee.open_teachers`: the student learns the mean of what they and `teacher` answer.
    ablate : bool
        Train the same student as long on labels alone, into ``control`` below its folder, and record the gain.
    resume : bool
        Continue what was interrupted: pruning's recovery, a temperature trial, distillation or the control.
    """
    settings = stage_settings(recipe, "task", "preprocess", "augment", "train", "student", "model")
    inputs = {"data": data.digest, "teacher": teacher.card.sha256}
    if unlabeled is not None:
        inputs["unlabeled"] = unlabeled.digest
    if more_teachers:
        inputs["more_teachers"] = " ".join(one.card.sha256 for one in more_teachers)
    stage = Stage(folder, settings, inputs)
    maker = _Maker(recipe, teacher, data, unlabeled, stage.folder, ablate, more_teachers)
    if not is_main():
        maker.train_along(stage, resume, overwrite)
        return {}
    record = stage.run(lambda: maker.train(resume and not overwrite), overwrite=overwrite, resume=resume)
    wait_for_all()
    shutil.rmtree(stage.folder / WORK, ignore_errors=True)  # only now: until the record stands, it can be resumed
    if not ablate:
        return record
    return with_gain(
        record,
        stage,
        lambda target: maker.train_control(target, resume and not overwrite),
        recipe.task,
        data,
        load_checkpoint(stage.folder).card.sha256,
        resume=resume,
        overwrite=overwrite,
    )


class _Maker:
    def __init__(
        self,
        recipe: Recipe,
        teacher: Checkpoint,
        data: Dataset,
        unlabeled: Dataset | None,
        folder: Path,
        ablate: bool,
        more_teachers: Sequence[Checkpoint],
    ) -> None:
        self.recipe, self.options, self.teacher, self.data = recipe, recipe.student, teacher, data
        self.unlabeled, self.folder, self.ablate = unlabeled, folder, ablate
        self.guide = Committee([teacher, *more_teachers]) if more_teachers else teacher.model
        if recipe.student.teacher_flips:
            self.guide = Mirrored(self.guide, recipe.augment)
        self.teachers = 1 + len(more_teachers)
        self.train_set, self.val = data.subset("train"), data.subset("val")
        self.images = len(self.train_set) + (len(unlabeled) if unlabeled is not None else 0)
        self.method, self.said = method_for(recipe.task, recipe.student)
        self.plan = RemainingSteps(recipe.train.batch_size)
        self.distilling = Phase("distil", self.options.epochs, self.options.learning_rate)
        steps = self.plan.steps(self.distilling, self.images)
        self.controlling = Phase("control", 0, self.options.learning_rate, steps=steps)
        self.tried = self.options.temperatures if len(self.options.temperatures) > 1 else []
        for phase in recovery_phases(recipe):
            self.plan.add(phase, len(self.train_set))
        trials = [self._trial(temperature) for temperature in self.tried]
        for phase in [*trials, self.distilling, *([self.controlling] if ablate else [])]:
            self.plan.add(phase, self.images)

    def train_along(self, stage: Stage, resume: bool, overwrite: bool) -> None:
        """What a process beside the main one does: it trains whatever that one trains, and writes nothing."""
        if stage.record() is None or overwrite:
            self.train(resume and not overwrite)
        wait_for_all()
        if self.ablate:
            control = control_stage(stage, load_checkpoint(stage.folder).card.sha256)
            if control.record() is None or overwrite:
                self.train_control(control.folder, resume and not overwrite)

    def train(self, resume: bool) -> dict[str, Any]:
        """Prune, try temperatures, distil, judge."""
        if self.said:
            tell(f"note: {self.said}")
        start, work = self.folder / START, self._begin(self.folder, resume)
        plain = self._task(None, self.options.temperature, pruning=True)
        make_start(self.recipe, self.teacher, plain, self.train_set, self.val, start, work, self.plan)
        wait_for_all()
        temperature, trials = self._temperature(start, work)
        model, card = open_start(self.recipe, start)
        macs = {
            "macs": count_macs(model, self.recipe.preprocess),
            "teacher_macs": count_macs(self.teacher.model, self.recipe.preprocess),
        }
        state = work / "distil.safetensors"
        outcome = self._fit(model, self._task(model, temperature), self.distilling, state, "student", self.unlabeled)
        self.guide.to("cpu")  # the loop took it along to a GPU, where there is one
        if not is_main():
            return {}
        metrics = finish(
            model,
            self.recipe,
            self.data,
            self.folder,
            outcome,
            role="student",
            weights_from=f"{card.weights_from}, distilled",
            pruning=card.pruning,
        )
        return macs | metrics | {"distillation": self._report(temperature, trials)}

    def train_control(self, folder: Path, resume: bool) -> dict[str, Any]:
        """The same start, steps and seed, without a teacher. The start itself was recovered with its help."""
        work = self._begin(folder, resume)
        model, card = open_start(self.recipe, self.folder / START)
        state = work / "control.safetensors"
        outcome = self._fit(model, self._labels(), self.controlling, state, "student without teacher")
        if not is_main():
            return {}
        metrics = finish(
            model,
            self.recipe,
            self.data,
            folder,
            outcome,
            role="control: student, labels alone",
            weights_from=f"{card.weights_from}, labels alone",
            pruning=card.pruning,
        )
        return metrics | {"steps": self.controlling.steps}

    def _fit(
        self, model: nn.Module, task: TrainingTask, phase: Phase, state: Path, title: str, extra: Dataset | None = None
    ) -> Outcome:
        """Train for one phase, from where a killed run left `state`."""
        training = Training(
            model,
            task,
            self.train_set,
            self.val,
            self.recipe,
            [phase],
            extra=extra,
            title=title,
            ahead=self.plan.ahead(phase),
        )
        return fit(training, state=state, resume=True, keep_state=True)

    def _begin(self, folder: Path, resume: bool) -> Path:
        """Folder of what a killed run continues from. Unless it is continued, nothing of an earlier run stays."""
        work = folder / WORK
        mark = work / "begun"
        if is_main() and not (resume and mark.is_file()):
            shutil.rmtree(work, ignore_errors=True)
            (folder / START / CARD).unlink(missing_ok=True)
            write_text(mark, "what a killed run continues from; removed when the stage is done\n")
        wait_for_all()
        return work

    def _trial(self, temperature: float) -> Phase:
        epochs = self.options.epochs * self.options.trial_share
        return Phase(f"try {temperature:g}", epochs, self.options.learning_rate)

    def _temperature(self, start: Path, work: Path) -> tuple[float, list[dict[str, Any]]]:
        if not self.tried:
            return (self.options.temperatures or [self.options.temperature])[0], []

        def trial(temperature: float, state: Path) -> np.ndarray:
            model, _ = open_start(self.recipe, start)
            task, phase = self._task(model, temperature), self._trial(temperature)
            self._fit(model, task, phase, state, "temperature", self.unlabeled)
            return predict(TorchRunner(model), self.val, self.recipe.preprocess)

        trials = try_temperatures(self.tried, trial, self.recipe.task, self.val.labels, work)
        return float(best(trials)["temperature"]), trials

    def _labels(self) -> Classify:
        return Classify.of(self.recipe, self.train_set)

    def _task(self, model: nn.Module | None, temperature: float, *, pruning: bool = False) -> Distil:
        """What the student learns. While channels still go, plain KD: features have no fixed width, and all methods
        and temperatures are to begin at one and the same pruned student."""
        options = self.options
        if pruning:
            return Distil(self.guide, self._labels(), temperature=temperature, weight=options.distill_weight)
        contrast = None
        if options.feature == "crd":
            assert model is not None
            contrast = contrast_for(
                model, self.guide, len(self.recipe.task.classes), options.feature_memory, self.recipe.train.seed
            )
        return Distil(
            self.guide,
            self._labels(),
            temperature=temperature,
            weight=options.distill_weight,
            method=self.method,
            alpha=options.dkd_alpha,
            beta=options.dkd_beta,
            warmup=self.plan.steps(Phase("", options.dkd_warmup_epochs, 0.0), self.images),
            contrast=contrast,
            contrast_weight=options.feature_weight,
        )

    def _report(self, temperature: float, trials: list[dict[str, Any]]) -> dict[str, Any]:
        report: dict[str, Any] = {
            "method": self.method,
            "feature": self.options.feature,
            "temperature": temperature,
            "teachers": self.teachers,
            "trials": trials,
            "unlabeled_images": len(self.unlabeled) if self.unlabeled is not None else 0,
            "steps": self.controlling.steps,
        }
        return report | ({"said": self.said} if self.said else {})
