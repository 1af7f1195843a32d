"""Teacher to shipped artifact: student, ONNX, INT8 by the device's scheme, each judged as it will run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedx.core.errors import CheckpointError, ProfileError
from edgedx.core.files import canonical_json, sha256_bytes, write_bytes
from edgedx.core.preprocess import normalise
from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.metrics import fit_temperature
from edgedx.device.machine.hardware import Hardware, read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import open_data
from edgedx.lab.data.unlabeled import open_unlabeled, unlabeled_report
from edgedx.lab.network.checkpoint import Checkpoint, load_checkpoint
from edgedx.lab.network.column_head import add_columns, head_of
from edgedx.lab.quantize.cam import with_cam
from edgedx.lab.quantize.choice import choose_variant, same_kernels
from edgedx.lab.quantize.int8 import make_int8
from edgedx.lab.quantize.onnx_graph import operators
from edgedx.lab.quantize.qdq import Scheme
from edgedx.lab.quantize.to_fp16 import to_fp16
from edgedx.lab.quantize.to_onnx import check_parity, export_onnx
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.model_folder import ModelFolder, save_logits, save_metrics
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import Stage, stage_settings
from edgedx.lab.train.processes import is_main, main_first
from edgedx.lab.train.short_figures import operating_points, summary

from .committee import open_teachers
from .student import make_student

CAM_IMAGES = 32
"""Images of val on which a class activation map is proven to add up to its logit."""
WORK = "work"  # what a killed run continues from; removed when the stage is done


def compress(
    recipe: Recipe,
    run: Path | Run,
    profile: DeviceProfile,
    *,
    int8: bool,
    ablate: bool = False,
    unlabeled: Path | None = None,
    teachers: Sequence[Path] = (),
    candidate: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make the run's student and its variants for one device profile, and return the last stage's record.

    Devices share the student: of a second profile only the variants are made. Under ``torchrun`` all processes train
    the student; one of them quantizes it, and the others return an empty record.

    Parameters
    ----------
    teachers : sequence of Path
        Further teachers' checkpoints: the student learns the mean of all. The gate judges against the run's own.
    candidate : Path, optional
        Where ``student`` and ``variants`` go instead: candidates of a search share a run's teacher and data.

    Raises
    ------
    CheckpointError
        No teacher in the run, or it is of another task, preprocessing or columns than the recipe.
    ProfileError
        INT8 for a device that has none.
    GateRefused
        The export differs from torch, or INT8 kernels saturate on this CPU.
    """
    if int8 and profile.quantization.scheme == "float":
        raise ProfileError(
            f"{profile.title} has no INT8 kernels",
            next_step="compress without --int8: the student is then FP32 or FP16",
        )
    run = Run.of(run)
    teacher = load_checkpoint(run.teacher.path)
    if teacher.card.task != recipe.task or teacher.card.preprocess != recipe.preprocess:
        raise CheckpointError(
            f"{run.teacher} was trained for another task or preprocessing than recipe {recipe.name!r} describes",
            next_step="give the recipe (and --set overrides) it was trained with, or fine-tune again",
        )
    data = open_data(recipe, run)
    if teacher.card.columns != list(data.fitted):
        raise CheckpointError(
            f"{run.teacher} was trained with other columns than the data set {run.data} has",
            next_step="give the recipe (and --set overrides) it was trained with, or fine-tune again",
        )
    with main_first():
        more = open_unlabeled(recipe, run.path, unlabeled, data) if unlabeled else None
    build = DeviceBuild(candidate) if candidate is not None else run.build_for(profile.name)
    small = ModelFolder(candidate / "student") if candidate is not None else run.student
    student_record = make_student(
        recipe,
        teacher,
        data,
        small.path,
        unlabeled=more,
        more_teachers=open_teachers(teachers, teacher),
        ablate=ablate,
        resume=resume,
        overwrite=overwrite,
    )
    if not is_main():
        return {}  # quantization is the main process's alone
    student = load_checkpoint(small.path)
    settings = stage_settings(recipe, "quantize", "task")
    settings |= {"int8": int8, "profile": profile.name, "quantization": profile.quantization.model_dump()}
    if int8:
        settings["max_auc_drop"] = recipe.gate.max_auc_drop  # decides which layers may stay 8-bit
    inputs = {"data": data.digest, "student": student.card.sha256, "teacher": teacher.card.sha256}
    stage = Stage(build.variants_folder, {**settings, "seed": recipe.train.seed}, inputs)
    # Variants are made of the student alone: those of another student, or without INT8, are simply replaced.
    renewed = build.finished and (build.record["inputs"] != inputs or (int8 and not build.record["settings"]["int8"]))
    record = stage.run(
        lambda: compile_student(recipe, student, teacher, data, profile, stage.folder, int8=int8),
        overwrite=overwrite or renewed,
        restartable=True,
    )
    more_figures = {"unlabeled": unlabeled_report(run.path)} if unlabeled else {}
    return {**record, "student": student_record["metrics"], **more_figures}


def compile_student(
    recipe: Recipe,
    student: Checkpoint,
    teacher: Checkpoint,
    data: Dataset,
    profile: DeviceProfile,
    folder: Path,
    *,
    int8: bool,
    hardware: Hardware | None = None,
) -> dict[str, Any]:
    """Export a student into `folder` in every precision that its device can use, each judged as it will run.

    Parameters
    ----------
    folder : Path
        Gets ``NAME.onnx`` and logits of each variant, and metrics.json.
    int8 : bool
        Quantize too.
    hardware : Hardware, optional
        This machine, unless given.

    Returns
    -------
    dict
        ``parity``, ``variants`` with figures of each, ``quantization`` where there was one, and ``choice``: the
        variant that should ship, and why.

    Raises
    ------
    GateRefused
        The export differs from torch, or INT8 kernels saturate on this CPU.
    """
    val, hardware = data.subset("val"), hardware or read_hardware()
    exported = export_onnx(student.model, recipe.preprocess)
    whole = add_columns(exported, student.model)
    report: dict[str, Any] = {"parity": check_parity(student.model, whole, val, recipe.preprocess), "variants": {}}
    # Quantization starts from the graph without map and columns: its ranges and layers are those of the image alone.
    sample = normalise(next(iter(val.batches(CAM_IMAGES))), recipe.preprocess)
    shown, no_cam = with_cam(exported, sample)
    shown = add_columns(shown, student.model)
    variants: dict[str, tuple[bytes, str, str, bool]] = {"fp32": (shown, "fp32", "float", True)}
    if profile.target != "cpu":
        variants["fp16"] = (to_fp16(shown), "fp16", "float", True)
    if int8:
        scheme: Scheme = profile.quantization.scheme  # type: ignore[assignment]  # float was refused above
        here = same_kernels(profile, hardware)
        state = folder / WORK / f"qat-{_state_of(recipe, student, teacher, data, profile)}.safetensors"
        train = data.subset("train")
        best, report["quantization"] = make_int8(
            exported, recipe, teacher, train, val, scheme, ranges_to_try(profile, here), state, here=here,
            head=head_of(student.model),
        )  # fmt: skip
        fused = scheme != "trt" and here
        model, no_cam = with_cam(best.model, sample, precision="int8", fused=fused)
        model = add_columns(model, student.model)
        # What stays float is FP16 for TensorRT: its network takes its types from the graph.
        model = to_fp16(model) if scheme == "trt" else model
        variants[f"int8-{scheme}"] = (model, "int8", scheme, fused)
    for name, (model, precision, scheme_name, fused) in variants.items():
        write_bytes(folder / f"{name}.onnx", model)
        report["variants"][name] = {
            "file": f"{name}.onnx",
            "precision": precision,
            "scheme": scheme_name,
            "purpose": "cpu" if profile.target == "cpu" or name == "fp32" else "tensorrt",
            "fused": fused,
            "bytes": len(model),
            "operators": operators(model),
            "no_cam": no_cam,
            **_judge(recipe, model, data, folder, name, fused),
        }
    report["choice"] = choose_variant({name: one[0] for name, one in variants.items()}, recipe, profile, hardware)
    save_metrics(folder, report)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return report


def ranges_to_try(profile: DeviceProfile, here: bool) -> list[bool]:
    """Whether to try 8-bit weights, 7-bit ones or both; what saturates is measured only on the kernels it runs on."""
    if profile.quantization.reduce_range != "measure":
        return [False]
    return [False, True] if here else [True]


def _state_of(recipe: Recipe, student: Checkpoint, teacher: Checkpoint, data: Dataset, profile: DeviceProfile) -> str:
    """Name for a training state: one that was begun with anything else is not continued."""
    sections = {"quantize", "train", "student", "augment", "task", "preprocess"}
    settings = recipe.model_dump(mode="json", include=sections | ({"columns"} if recipe.columns.use else set()))
    inputs = [student.card.sha256, teacher.card.sha256, data.digest, profile.quantization.model_dump()]
    return sha256_bytes(canonical_json([settings, inputs]))[:16]


def _judge(recipe: Recipe, model: bytes, data: Dataset, folder: Path, name: str, fused: bool) -> dict[str, Any]:
    """Figures of a variant as it will run; temperature and operating points are fitted anew, on val."""
    logits = {
        split: predict(OnnxRunner(model, fused=fused), data.subset(split), recipe.preprocess)
        for split in ("val", "test")
    }
    save_logits(folder / name, logits)
    val = data.subset("val")
    temperature = fit_temperature(logits["val"], val.labels, recipe.task.kind)
    points = operating_points(recipe, logits["val"], val.labels, temperature)
    verdict: dict[str, Any] = {"temperature": temperature, "operating_points": [point.model_dump() for point in points]}
    for split, values in logits.items():
        part = data.subset(split)
        verdict[split] = summary(recipe.task, values, part.labels, part.patients, temperature, points[0])
    return verdict
