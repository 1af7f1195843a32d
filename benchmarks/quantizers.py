"""Quantizers side by side: the same FP32 student, the same calibration images, one run, one process for all latencies.

    python benchmarks/quantizers.py --run runs/pneumonia-mnist --work work/quantizers [--tools ort nncf modelopt]

RUN holds a trained teacher and student (`edgedx finetune`, `edgedx compress`). Compared are ONNX Runtime's
``quantize_static`` with its defaults, NNCF's post-training quantization of ONNX, NVIDIA ModelOpt's ONNX PTQ, and edgedx
step by step. Each foreign tool runs in a virtual environment of its own below WORK, which this script makes with pip;
one that does not install, or fails, is told with its reason instead of figures. All models are judged on val and test
through ONNX Runtime's fused kernels of this CPU, and computed in float as written (which is how a TensorRT scheme is
judged, ModelOpt's among them); single-thread latencies are taken by turns. Writes
``benchmarks/results/quantizers.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from foreign_tools import Foreign, Tool

from edgedx.core.files import write_json
from edgedx.core.preprocess import normalise
from edgedx.core.settings.profile import load_profile
from edgedx.core.settings.recipe import load_recipe
from edgedx.core.timing import interleave
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.compress.compress import ranges_to_try
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import open_data
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.quantize.choice import same_kernels
from edgedx.lab.quantize.int8 import make_int8
from edgedx.lab.quantize.sensitivity import exclude
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.quantize.workbench import Workbench, noise_of
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.short_figures import auc_of_logits

TOOLS = {"ort": "default", "nncf": "default", "modelopt": "entropy"}  # with the preset that is the tool's own


def foreign(name: str, work: Path, source: Path, images: Path) -> tuple[bytes | None, dict[str, Any]]:
    """Quantize with another tool in its own environment: its model, or None and why not."""
    target = work / f"{name}.onnx"
    target.unlink(missing_ok=True)
    try:
        tool = Tool(name, work)
    except Foreign as error:
        return None, {"installed": False, "reason": str(error)}
    begun = time.monotonic()
    try:
        tool.run(f"with_{name}", source, images, target, TOOLS[name])
    except Foreign as error:
        return None, {"installed": True, "reason": str(error)}
    return target.read_bytes(), {"versions": tool.versions(), "seconds": round(time.monotonic() - begun, 1)}


def own(args: argparse.Namespace, models: dict[str, bytes], told: dict[str, Any], exported: bytes) -> None:
    """edgedx, step by step for this CPU's scheme, and whole for TensorRT's."""
    recipe = Run(args.run).recipe(args.set) if args.recipe is None else load_recipe(args.recipe, args.set)
    data, teacher = open_data(recipe, args.run), load_checkpoint(Run(args.run).teacher.path)
    train, val = data.subset("train"), data.subset("val")
    profile = load_profile(args.device)
    here = same_kernels(profile, read_hardware())
    ranges = ranges_to_try(profile, here)
    scheme: Any = profile.quantization.scheme
    bench = Workbench(exported, recipe, train, val, scheme, here=here)
    ptq = bench.calibrate(ranges)[0]
    models["edgedx PTQ"] = ptq.model
    corrected, told["edgedx PTQ + bias correction"] = bench.corrected(ptq)
    models["edgedx PTQ + bias correction"] = corrected.model
    half = corrected.noise / 2
    excluded, record = exclude(bench, corrected, lambda candidate: candidate.noise <= half)
    models["edgedx + exclusion to half the noise"] = excluded.model
    told["edgedx + exclusion to half the noise"] = {key: record[key] for key in ("said", "float_share")}
    for name, target, mode in (
        ("edgedx, as compress does it", scheme, "auto"),
        ("edgedx + QAT", scheme, "always"),
        ("edgedx TensorRT scheme", "trt", "auto"),
        ("edgedx TensorRT scheme + QAT", "trt", "always"),
    ):
        changed = recipe.model_copy(update={"quantize": recipe.quantize.model_copy(update={"qat": mode})})
        state = args.work / f"{target}-{mode}.safetensors"
        state.unlink(missing_ok=True)
        best, record = make_int8(
            exported, changed, teacher, train, val, target, ranges if target != "trt" else [False], state, here=here
        )
        models[name] = best.model
        told[name] = {key: record.get(key) for key in ("chosen", "kept_in_float", "missed", "qat")}
        print(f"{name}: val AUC {best.auc:.4f}, noise {best.noise:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run folder with teacher and student")
    parser.add_argument("--work", type=Path, required=True, help="folder for environments and models; kept")
    parser.add_argument("--recipe", help="recipe instead of RUN/recipe.yaml")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the recipe")
    parser.add_argument("--device", default="x86-avx2", help="profile of this machine's CPU")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--seconds", type=float, default=20.0, help="time for all latencies together")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "quantizers.json")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    recipe = Run(args.run).recipe(args.set) if args.recipe is None else load_recipe(args.recipe, args.set)
    data = open_data(recipe, args.run)
    teacher, student = load_checkpoint(Run(args.run).teacher.path), load_checkpoint(Run(args.run).student.path)
    exported = export_onnx(student.model, recipe.preprocess)
    source, images = args.work / "student.onnx", args.work / "images.npy"
    source.write_bytes(exported)
    bench = Workbench(exported, recipe, data.subset("train"), data.subset("val"), "u8s8")
    canvases = np.concatenate(list(bench.calibration.batches(64)))
    np.save(images, normalise(canvases, recipe.preprocess))
    models: dict[str, bytes] = {"FP32": exported}
    told: dict[str, Any] = {}
    for tool in args.tools:
        model, told[tool] = foreign(tool, args.work, source, images)
        print(f"{tool}: {told[tool]}", flush=True)
        if model is not None:
            models[tool] = model
    own(args, models, told, exported)
    rows: dict[str, Any] = {}
    reference = {
        split: predict(OnnxRunner(exported), data.subset(split), recipe.preprocess) for split in ("val", "test")
    }
    for name, model in models.items():
        row: dict[str, Any] = {"bytes": len(model), **told.get(name, {})}
        for kind, fused in (("fused", True), ("simulated", False)):
            for split, exact in reference.items():
                part = data.subset(split)
                logits = predict(OnnxRunner(model, fused=fused), part, recipe.preprocess)
                row[f"{split}_auc_{kind}"] = round(auc_of_logits(recipe.task, logits, part.labels), 5)
                row[f"{split}_noise_{kind}"] = round(noise_of(logits, exact), 4)
        rows[name] = row
    rows |= {name: record for name, record in told.items() if name not in rows}
    image = np.zeros((1, *recipe.preprocess.input_shape), np.float32)
    runners = {name: OnnxRunner(model, threads=1) for name, model in models.items()}
    for runner in runners.values():
        runner.activate()
    calls = {name: (lambda runner=runner: runner.infer(image)) for name, runner in runners.items()}
    for name, record in interleave(calls, min_seconds=args.seconds, max_seconds=600, repeats=200, threads=1).items():
        rows[name] |= {"p50_ms": round(record.p50_ms, 4), "min_ms": round(record.min_ms, 4)}
    taught = {}
    for split in ("val", "test"):
        part = data.subset(split)
        taught[f"{split}_auc"] = auc_of_logits(
            recipe.task, predict(TorchRunner(teacher.model), part, recipe.preprocess), part.labels
        )
    report = {
        "command": " ".join(["python", "benchmarks/quantizers.py", *sys.argv[1:]]),
        "recipe": recipe.name,
        "machine": machine(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "images": {"calibration": len(bench.calibration), "size": list(recipe.preprocess.size)},
        "teacher": taught,
        "models": rows,
    }
    write_json(args.out, report)
    for name, row in rows.items():
        if "p50_ms" in row:
            print(
                f"{name:<38} {row['p50_ms']:.3f} ms  {row['bytes'] / 1e6:.3f} MB  test AUC {row['test_auc_fused']:.4f} "
                f"fused, {row['test_auc_simulated']:.4f} simulated"
            )


if __name__ == "__main__":
    main()
