"""The gate at the workstation: an artifact, run as it will serve, against the run's teacher on the run's data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedx.core.bundle.manifest import Bundle, Manifest
from edgedx.core.errors import CheckpointError, UsageError
from edgedx.core.preprocess import normalise
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.cases import predictions_of_logits
from edgedx.core.stats.gate import Limits, Rule, Verdict, judge
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.clinic.gate import Examined, limits_of
from edgedx.device.clinic.samples import cases_of_samples, read_predictions
from edgedx.device.install.active import open_any
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Runner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.device_build import CompiledVariant, DeviceBuild
from edgedx.lab.run.run import Run

from .subject import how_it_runs, runner_or_stand_in
from .teacher_answers import cases_of, teacher_predictions


@dataclass(frozen=True)
class Judge:
    """Judges artifacts of a run against the run's teacher, or against a table of another model's predictions.

    Each verdict is on the artifact as it will serve. Nothing is written.

    Attributes
    ----------
    split : str, optional
        The recipe's ``gate.split`` unless given.
    predictions : Path, optional
        Table to compare with instead of the teacher.
    threads : int
        Of the CPU; 0 lets the runtime choose.
    """

    recipe: Recipe
    run: Run
    data: Dataset
    split: str = ""
    predictions: Path | None = None
    threads: int = 0

    def artifact(self, path: Path, *, variant: str | None = None, device: str | None = None) -> Verdict:
        """Judge what `edgedx gate` was given: a run or a stage of it, an ONNX file in it, or a bundle.

        Of a run it is what ships: the bundle where there is one of the compressed model, else the variant chosen by
        `edgedx compress`.

        Parameters
        ----------
        variant : str, optional
            Of a bundle.
        device : str, optional
            Device profile, where the run serves several.

        Raises
        ------
        UsageError
            Nothing is compressed, or the bundle is of another task.
        """
        if path.is_dir() and Run.of(path).path.resolve() == self.run.path.resolve():
            build = self.run.build(device)
            if build.bundle is None:
                return self.variant(build.shipped)
            path = build.bundle
        if path.suffix != ".onnx":
            return self.bundle(open_any(path), variant)
        if variant is not None:
            raise UsageError("--variant is for bundles", next_step=f"name the file: {path.parent / variant}.onnx")
        made_for = DeviceBuild.of_variant(path)
        if made_for is None:
            raise UsageError(
                f"{path.parent} knows no variant {path.stem!r}",
                next_step="name an ONNX file that `edgedx compress` wrote",
            )
        return self.variant(made_for.variants[path.stem])

    def variant(self, variant: CompiledVariant, *, subject: str = "the shipped model") -> Verdict:
        """Run an ONNX variant on the split and compare it with the teacher.

        Parameters
        ----------
        subject : str
            What the sentences call it.

        Raises
        ------
        CheckpointError
            The teacher is missing, or was judged on another data set.
        """
        entry = variant.entry
        how = how_it_runs(str(entry.get("scheme")), str(entry.get("purpose", "cpu")))
        # Kernels that this CPU has not are judged by the graph computed in float, as it was compressed.
        runner = OnnxRunner(variant.path, fused=variant.fused, threads=self.threads)
        ran = f"variant {variant.name}, {how}"
        return self._judge(runner, variant.temperature, variant.points[0], subject=subject, ran=ran)

    def bundle(self, bundle: Bundle, variant: str | None = None) -> Verdict:
        """As `variant`, for a model of a bundle, decided as a device decides.

        Where it needs TensorRT and there is none here, its 8-bit pairs are computed in float, and ``ran`` says so.
        """
        manifest = bundle.manifest
        _check_same(manifest, self.recipe, str(bundle.path))
        name = variant or manifest.default_variant
        runner, how = runner_or_stand_in(bundle, name, self.threads)
        return self._judge(runner, manifest.temperature, manifest.operating_points[0], ran=f"variant {name}, {how}")

    def _judge(
        self, runner: Runner, temperature: float, point: OperatingPoint, *, ran: str, subject: str = "the shipped model"
    ) -> Verdict:
        split = self.split or self.recipe.gate.split
        part = self.data.subset(split)
        cases = cases_of(part, self.recipe.task)
        logits = predict(runner, part, self.recipe.preprocess)
        student = predictions_of_logits(cases, logits, temperature, point)
        if self.predictions is not None:
            full, reference = read_predictions(self.predictions, cases, point.threshold), self.predictions.name
            reference = f"the answers in {reference}"
        else:
            full, reference = teacher_predictions(self.recipe, self.run, self.data, split, point.name), "its teacher"
        limits = limits_of_recipe(self.recipe)
        return judge(cases, full, student, limits, where=split, subject=subject, reference=reference, ran=ran)


def limits_of_recipe(recipe: Recipe) -> Limits:
    """The section gate of a recipe."""
    gate = recipe.gate
    return Limits(gate.max_auc_drop, gate.rule, gate.max_sensitivity_drop, gate.max_ece, gate.least_auc)


def against_teacher(
    manifest: Manifest, examined: Examined, recipe: Recipe, run: Path | Run, rule: Rule | None = None
) -> Verdict:
    """A bundle's answers to labelled images of a clinic, against what the run's teacher says to the same images.

    Raises
    ------
    UsageError
        The run's recipe is of other images or classes.
    CheckpointError
        The teacher has no such operating point, takes other columns, or is missing.
    """
    _check_same(manifest, recipe, "the bundle")
    cases = cases_of_samples(examined.done, manifest)
    point = manifest.operating_points[0]  # not a site's own: the teacher has none to compare it with
    run = Run.of(run)
    full = load_checkpoint(run.teacher.path)
    known = {one.name: one for one in full.card.operating_points}
    if point.name not in known:
        raise CheckpointError(
            f"{run.teacher} has no operating point {point.name!r}, only {', '.join(known)}",
            next_step="put it into gate.points and fine-tune again",
        )
    if full.card.columns != manifest.columns:
        raise CheckpointError(
            f"{run.teacher} takes other columns beside the image than the bundle",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )
    with TorchRunner(full.model) as runner:
        logits = runner.infer(normalise(examined.canvases, recipe.preprocess), examined.columns).logits
    return judge(
        cases,
        predictions_of_logits(cases, logits, full.card.temperature, known[point.name]),
        predictions_of_logits(cases, examined.logits, manifest.temperature, point),
        limits_of(manifest, rule),
        where="the labelled images",
        subject="the bundle",
        ran=examined.ran,
    )


def _check_same(manifest: Manifest, recipe: Recipe, what: str) -> None:
    if manifest.preprocess != recipe.preprocess or manifest.classes != recipe.task.classes:
        raise UsageError(
            f"{what} was made for other images or classes than the run's recipe",
            next_step="name the run that the bundle was made in: --run runs/NAME",
        )
