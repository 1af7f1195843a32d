"""What each step of compression costs and wins, over seeds; and whether the result is as small and fast as promised.

    python benchmarks/compression.py [--recipe pneumonia-mnist] [--seeds 0 1 2] [--runs runs/compression]
                                     [--teachers RUNS] [--set student.macs=0.15]

A row for each step, judged on val and test: teacher; pruned and not trained further; pruned and trained on labels
alone (as many steps as the student); pruned and distilled; quantized (PTQ); with bias correction; as `edgedx compress`
leaves it; and with quantization-aware training even where the budget holds without. Quantized rows stand twice: in the
scheme of x86 CPUs, through ONNX Runtime's fused kernels of this machine, and in TensorRT's, computed in float as the
graph says. Latencies of one image on one thread are taken by turns in one process, with an untrained ResNet-50 of the
same input size as the full model. With --teachers the teachers of earlier runs (RUNS/seed-N) are copied; finished
stages are read, not repeated. Writes ``benchmarks/results/compression-RECIPE.json``.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.cli.common import profile_for
from edgedx.core.files import write_json
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.timing import interleave
from edgedx.device.machine.hardware import read_hardware
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.compress.compress import ranges_to_try
from edgedx.lab.compress.control import FOLDER as CONTROL
from edgedx.lab.compress.student import START, make_student
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import open_data
from edgedx.lab.evidence.bench import contender
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.quantize.choice import same_kernels
from edgedx.lab.quantize.int8 import make_int8
from edgedx.lab.quantize.to_onnx import export_onnx
from edgedx.lab.quantize.workbench import Workbench
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import finetune
from edgedx.lab.train.short_figures import auc_of_logits

FULL = "resnet50"


def one_seed(recipe: Recipe, run: Path, teachers: Path | None) -> dict[str, Any]:
    """Train what is missing, quantize in both schemes, and time."""
    if teachers and not run.exists():
        for stage in ("data", "teacher"):
            shutil.copytree(teachers / run.name / stage, run / stage)
    if not Run(run).teacher.finished:
        finetune(recipe, run, resume=True)
    data, teacher = open_data(recipe, run), load_checkpoint(Run(run).teacher.path)
    record = make_student(recipe, teacher, data, Run(run).student.path, ablate=True, resume=True)
    folders = {
        "teacher": Run(run).teacher.path,
        "pruned": Run(run).student.path / START,
        "pruned + labels": Run(run).student.path / CONTROL,
        "pruned + KD": Run(run).student.path,
    }
    steps: dict[str, Any] = {}
    for name, folder in folders.items():
        model = load_checkpoint(folder).model
        steps[name] = {s: _auc(recipe, predict(TorchRunner(model), data.subset(s), recipe.preprocess), data.subset(s))
                       for s in ("val", "test")}  # fmt: skip
    exported = export_onnx(load_checkpoint(Run(run).student.path).model, recipe.preprocess)
    shipped = _quantized(recipe, run, exported, data, steps)
    models = {
        "int8": shipped,
        "student": exported,
        "teacher": export_onnx(teacher.model, recipe.preprocess),
        FULL: contender(FULL, recipe.preprocess, len(recipe.task.classes)).model,
    }
    return {
        "seed": recipe.train.seed,
        "macs_share": record["metrics"]["macs"] / record["metrics"]["teacher_macs"],
        "distillation": record["metrics"]["distillation"],
        "steps": steps,
        "bytes": {name: len(model) for name, model in models.items()},
        "latency": _latencies(models, recipe),
    }


def _quantized(recipe: Recipe, run: Path, exported: bytes, data: Dataset, steps: dict[str, Any]) -> bytes:
    """Add the rows of both schemes to `steps`; the model that would ship on this machine."""
    train, val = data.subset("train"), data.subset("val")
    profile, teacher = profile_for("this"), load_checkpoint(Run(run).teacher.path)
    here = same_kernels(profile, read_hardware())
    ranges = ranges_to_try(profile, here)
    shipped = b""
    for scheme, tried in ((profile.quantization.scheme, ranges), ("trt", [False])):
        fused = scheme != "trt" and here
        bench = Workbench(exported, recipe, train, val, scheme, here=here)  # type: ignore[arg-type]
        ptq = bench.calibrate(tried)[0]
        models = {"PTQ": ptq.model, "bias correction": bench.corrected(ptq)[0].model}
        said: dict[str, Any] = {}
        for step, mode in (("as compress", "auto"), ("QAT", "always")):
            changed = recipe.model_copy(update={"quantize": recipe.quantize.model_copy(update={"qat": mode})})
            state = run / f"qat-{scheme}-{mode}.safetensors"
            state.unlink(missing_ok=True)
            best, found = make_int8(exported, changed, teacher, train, val, scheme, tried, state, here=here)  # type: ignore[arg-type]
            state.unlink(missing_ok=True)
            models[step] = best.model
            said[step] = {key: found.get(key) for key in ("chosen", "missed", "qat", "kept_in_float")}
        for step, model in models.items():
            row: dict[str, Any] = {"bytes": len(model), **said.get(step, {})}
            for split in ("val", "test"):
                part = data.subset(split)
                row[split] = _auc(recipe, predict(OnnxRunner(model, fused=fused), part, recipe.preprocess), part)
            steps[f"{scheme} {step}"] = row
        shipped = shipped or models["as compress"]
    return shipped


def _auc(recipe: Recipe, logits: np.ndarray, part: Dataset) -> float:
    return auc_of_logits(recipe.task, logits, part.labels)


def _latencies(models: dict[str, bytes], recipe: Recipe) -> dict[str, dict[str, float]]:
    image = np.zeros((1, *recipe.preprocess.input_shape), np.float32)
    with ExitStack() as stack:
        runners = {name: stack.enter_context(OnnxRunner(model, threads=1)) for name, model in models.items()}
        calls = {name: (lambda runner=runner: runner.infer(image)) for name, runner in runners.items()}
        found = interleave(calls, min_seconds=15, max_seconds=120, repeats=200, threads=1)
    return {name: {"p50_ms": one.p50_ms, "min_ms": one.min_ms} for name, one in found.items()}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def spread(values: list[float]) -> dict[str, float]:
        return {"mean": statistics.mean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                "least": min(values), "most": max(values)}  # fmt: skip

    steps = {
        step: {
            "test_auc": spread([row["steps"][step]["test"] for row in rows]),
            "less_teacher": spread([row["steps"][step]["test"] - row["steps"]["teacher"]["test"] for row in rows]),
        }
        for step in rows[0]["steps"]
    }
    ratios = {
        f"{other} / int8": spread([row["latency"][other]["p50_ms"] / row["latency"]["int8"]["p50_ms"] for row in rows])
        for other in ("student", "teacher", FULL)
    }
    return {
        "steps": steps,
        "latency_ratios": ratios,
        "int8_megabytes": spread([row["bytes"]["int8"] / 1e6 for row in rows]),
        "int8_p50_ms": spread([row["latency"]["int8"]["p50_ms"] for row in rows]),
        "macs_share": spread([row["macs_share"] for row in rows]),
    }


def main() -> None:
    """Run the seeds, write, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="pneumonia-mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/compression"))
    parser.add_argument("--teachers", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        recipe = load_recipe(options.recipe, [f"train.seed={seed}", *options.overrides])
        rows.append(one_seed(recipe, options.runs / f"seed-{seed}", options.teachers))
        print(f"seed {seed} is done", flush=True)
    report = {
        "schema_version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "recipe": recipe.name,
        "overrides": options.overrides,
        "seeds": rows,
        "summary": _summary(rows),
    }
    write_json(Path(__file__).parent / "results" / f"compression-{recipe.name}.json", report)
    for step, found in report["summary"]["steps"].items():
        one, less = found["test_auc"], found["less_teacher"]
        print(f"{step:<24} test AUC {one['mean']:.4f} sd {one['sd']:.4f}   less teacher {less['mean']:+.4f} "
              f"(worst {less['least']:+.4f})")  # fmt: skip
    for name in ("int8_megabytes", "int8_p50_ms", "macs_share"):
        one = report["summary"][name]
        print(f"{name:<24} {one['mean']:.3f} sd {one['sd']:.3f}")
    for name, one in report["summary"]["latency_ratios"].items():
        print(f"{name:<24} {one['mean']:.1f} times (least {one['least']:.1f})")


if __name__ == "__main__":
    main()
