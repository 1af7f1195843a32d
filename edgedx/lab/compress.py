"""Teacher to shipped artifact: student, ONNX, INT8 by the device's scheme, each judged as it will run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..core.errors import CheckpointError, ProfileError, UsageError
from ..core.files import write_bytes, write_json
from ..core.metrics import fit_temperature
from ..core.profile import DeviceProfile
from ..core.recipe import Recipe
from .checkpoint import Checkpoint, load_checkpoint
from .dataset import Dataset
from .evaluate import operating_points, summary
from .export import check_parity, export_onnx, run_onnx
from .finetune import open_data, save_logits
from .quantize import Scheme, check_fused, quantize
from .stage import Stage
from .student import make_student
from .typed import to_fp16


def compress(
    recipe: Recipe,
    run: Path,
    profile: DeviceProfile,
    *,
    int8: bool,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make ``run/student`` and ``run/int8`` (or ``run/onnx`` without INT8) and return the last stage's record.

    Raises
    ------
    CheckpointError
        No teacher in the run, or it is of another task or preprocessing than the recipe.
    ProfileError
        INT8 for a device that has none.
    GateRefused
        The export differs from torch, or INT8 kernels saturate on this CPU.
    """
    if int8 and profile.quantization.scheme == "float":
        raise ProfileError(
            f"{profile.title} has no INT8 kernels",
            next_step="compress without --int8: the student ships in FP32 or FP16",
        )
    teacher = load_checkpoint(run / "teacher")
    if teacher.card.task != recipe.task or teacher.card.preprocess != recipe.preprocess:
        raise CheckpointError(
            f"{run / 'teacher'} was trained for another task or preprocessing than recipe {recipe.name!r} describes",
            next_step="give the recipe (and --set overrides) it was trained with, or fine-tune again",
        )
    data = open_data(recipe, run)
    student_record = make_student(recipe, run, teacher, data, resume=resume, overwrite=overwrite)
    student = load_checkpoint(run / "student")
    settings = recipe.model_dump(mode="json", include={"quantize", "gate", "task"})
    settings |= {"int8": int8, "profile": profile.name, "quantization": profile.quantization.model_dump()}
    stage = Stage(
        run / ("int8" if int8 else "onnx"),
        {**settings, "seed": recipe.train.seed},
        {"data": data.digest, "student": student.card.sha256, "teacher": teacher.card.sha256},
    )
    record = stage.run(
        lambda: _compile(recipe, student, data, profile, stage.folder, int8), overwrite=overwrite, restartable=True
    )
    return {**record, "student": student_record["metrics"]}


def _compile(
    recipe: Recipe, student: Checkpoint, data: Dataset, profile: DeviceProfile, folder: Path, int8: bool
) -> dict[str, Any]:
    val = data.subset("val")
    exported = export_onnx(student.model, recipe.preprocess)
    report: dict[str, Any] = {"parity": check_parity(student.model, exported, val, recipe.preprocess), "variants": {}}
    variants: dict[str, tuple[bytes, str, str, bool]] = {"fp32": (exported, "fp32", "float", True)}
    if profile.target != "cpu":
        variants["fp16"] = (to_fp16(exported), "fp16", "float", True)
    if int8:
        scheme: Scheme = profile.quantization.scheme  # type: ignore[assignment]  # float was refused above
        ranges = [False, True] if profile.quantization.reduce_range == "measure" else [False]
        best, tried = quantize(exported, recipe, data.subset("train"), val, scheme, ranges)
        report["quantization"] = {
            "scheme": scheme,
            "chosen": best.describe(),
            "tried": tried,
            **check_fused(best, val, recipe, scheme),
        }
        # What stays float is FP16 for TensorRT: its network takes its types from the graph.
        model = to_fp16(best.model) if scheme == "trt" else best.model
        variants[f"int8-{scheme}"] = (model, "int8", scheme, scheme != "trt")
    for name, (model, precision, scheme_name, fused) in variants.items():
        write_bytes(folder / f"{name}.onnx", model)
        report["variants"][name] = {
            "file": f"{name}.onnx",
            "precision": precision,
            "scheme": scheme_name,
            "purpose": "cpu" if profile.target == "cpu" or name == "fp32" else "tensorrt",
            "bytes": len(model),
            "operators": _operators(model),
            **_judge(recipe, model, data, folder, name, fused),
        }
    write_json(folder / "metrics.json", report)
    return report


def _judge(recipe: Recipe, model: bytes, data: Dataset, folder: Path, name: str, fused: bool) -> dict[str, Any]:
    """Figures of a variant as it will run; temperature and operating points are fitted anew, on val."""
    logits = {split: run_onnx(model, data.subset(split), recipe.preprocess, fused=fused) for split in ("val", "test")}
    save_logits(folder / name, logits)
    val = data.subset("val")
    temperature = fit_temperature(logits["val"], val.labels, recipe.task.kind)
    points = operating_points(recipe, logits["val"], val.labels, temperature)
    found: dict[str, Any] = {"temperature": temperature, "operating_points": [point.model_dump() for point in points]}
    for split, values in logits.items():
        part = data.subset(split)
        found[split] = summary(recipe.task, values, part.labels, part.patients, temperature, points[0])
    return found


def _operators(model: bytes) -> dict[str, int]:
    names, counts = np.unique([node.op_type for node in onnx.load_from_string(model).graph.node], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def compressed_folder(run: Path) -> Path:
    """The finished folder of ONNX variants of a run: ``int8`` where there is one, else ``onnx``.

    Raises
    ------
    UsageError
        The run was not compressed yet.
    """
    for name in ("int8", "onnx"):
        if (run / name / "stage.json").is_file():
            return run / name
    raise UsageError(f"{run} holds no compressed model", next_step=f"edgedx compress {run} --int8")
