"""What columns are worth where they carry something, and what is left of a model when they are absent. SYNTHETIC.

    python benchmarks/columns.py [--seeds 0 1 2] [--patients 800] [--work FOLDER]

Chest phantoms as DICOM files, one for each patient, whose opacities are more frequent in the old: the log odds rise by
one every eight years and are even at 58. A third of the headers lack the age; the sex carries nothing. For each seed a
data set, and on it two teachers of the same recipe: one of the image alone, one told age and sex. Compared on the same
test patients with DeLong's test; then the second again with all columns absent. Its pruned INT8 student is deployed,
and what the bundle answers to the test files themselves, read as the scanner does, is set against PyTorch's answers.
Writes ``benchmarks/results/columns.json``. About four minutes a seed on one core.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.files import write_json
from edgedx.core.settings.columns import Columns, present
from edgedx.core.settings.profile import DeviceProfile, load_profile
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.metrics import roc_auc
from edgedx.device.decode.decoder import Decoder
from edgedx.device.runtime.predict import Predictor
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.dicom.writing.make import PatientFacts, write_dicom
from edgedx.dicom.writing.phantom import LABELS, draw_phantom
from edgedx.lab.compress.compress import compress
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.data.prepare import open_data
from edgedx.lab.evidence.compare.significance import delong
from edgedx.lab.judge.evaluation import Evaluation, evaluate
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.network.checkpoint import load_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.train.finetune import finetune

EVEN_AT, YEARS = 58, 8.0
COLUMNS = (
    "[{name: age, kind: number, header: PatientAgeYears}, "
    "{name: sex, kind: category, categories: [F, M], header: PatientSex}]"
)
SETTINGS = (
    "data.source=csv", "data.subgroup_columns=[]", "data.fractions=[0.5, 0.15, 0.35]", "preprocess.size=[48, 48]",
    "student.epochs=6", "quantize.calibration_images=256",
)  # fmt: skip


def write_set(folder: Path, patients: int, seed: int) -> None:
    """DICOM files and ``labels.csv``, which holds no column: age and sex stand in the headers alone."""
    rng = np.random.default_rng([seed, 0xC0])
    rows = [("image", "label", "patient_id")]
    for number in range(patients):
        age = int(rng.integers(20, 96))
        label = LABELS[int(rng.random() < 1 / (1 + np.exp(-(age - EVEN_AT) / YEARS)))]
        sex, told = "FM"[int(rng.integers(2))], rng.random() > 1 / 3
        subject = PatientFacts(f"C{seed}-{number}", "PHANTOM", sex, age if told else None)
        name = f"{number:05d}.dcm"
        write_dicom(folder / name, draw_phantom(label, rng), subject=subject, bits_stored=12, view="PA")
        rows.append((name, label, subject.patient_id))
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def recipe_of(folder: Path, seed: int, *more: str) -> Recipe:
    """The phantom recipe, made small, on the images below `folder`."""
    return load_recipe("phantom", [*SETTINGS, f"data.path={folder}", f"train.seed={seed}", f"data.seed={seed}", *more])


def one_seed(work: Path, patients: int, seed: int, profile: DeviceProfile) -> dict[str, Any]:
    """Train, compress, deploy and judge."""
    images = work / f"set-{seed}"
    write_set(images, patients, seed)
    runs = {"image": work / f"image-{seed}", "told": work / f"told-{seed}"}
    recipes = {"image": recipe_of(images, seed), "told": recipe_of(images, seed, f"columns.use={COLUMNS}")}
    found: dict[str, Evaluation] = {}
    for name, run in runs.items():
        keep(run, recipes[name])
        finetune(recipes[name], run)
        found[name] = evaluate(open_subject(Run(run).teacher.path))
    record = compress(recipes["told"], runs["told"], profile, int8=True)
    int8 = next(name for name in record["metrics"]["variants"] if name.startswith("int8"))
    found["int8"] = evaluate(open_subject(Run(runs["told"]).build().variants[int8].path))
    deployed = deploy(recipes["told"], runs["told"], profile, force=True)
    test = open_data(recipes["told"], runs["told"]).subset("test")
    worth = found["told"].worth
    assert worth is not None and found["told"].asked.without is not None
    assert all(one.asked.cases.names == test.names for one in found.values())
    asked = [found["image"].asked.logits, found["told"].asked.logits, found["told"].asked.without]
    areas = delong(test.labels == 1, [ranks(one) for one in asked])
    known = present(test.fitted, test.columns)[:, 0]  # type: ignore[arg-type]
    return {
        "seed": seed,
        "test_images": len(test),
        "auc_image_alone": found["image"].figures.overall["auc_roc"].to_dict(),
        "auc_with_columns": found["told"].figures.overall["auc_roc"].to_dict(),
        "auc_int8_with_columns": found["int8"].figures.overall["auc_roc"].to_dict(),
        "gain": areas.test(0, 1).to_dict(),
        "auc_told_with_all_absent": worth.auc.student.to_dict(),
        "absent_less_image_alone": areas.test(0, 2).to_dict(),
        "worth": worth.to_dict(),
        "auc_where_age_is_known": parts(test, known, found),
        "auc_where_age_is_absent": parts(test, ~known, found),
        "qat": record["metrics"]["quantization"].get("qat") is not None,
        "int8_noise": record["metrics"]["quantization"]["chosen"]["noise"],
        "parity_max_difference": record["metrics"]["parity"]["max_difference"],
        "device": on_device(open_bundle(deployed["metrics"]["bundle"]), runs["told"], images, test),
    }


def keep(run: Path, recipe: Recipe) -> None:
    """The recipe beside its run, as the command line leaves it."""

    Run(run).keep_recipe(recipe)


def ranks(logits: np.ndarray) -> np.ndarray:
    """What orders images by the finding."""
    return np.asarray(logits[:, 1] - logits[:, 0])


def parts(test: Dataset, rows: np.ndarray, found: dict[str, Evaluation]) -> dict[str, Any]:
    """AUC on some of the test images."""
    areas = {name: roc_auc(test.labels[rows] == 1, ranks(one.asked.logits)[rows]) for name, one in found.items()}
    return {"images": int(rows.sum()), **areas}


def on_device(bundle: Bundle, run: Path, images: Path, test: Dataset) -> dict[str, Any]:
    """The files as a scanner reads them, answered by the bundle's FP32 graph, against PyTorch on the run's data set."""
    student = load_checkpoint(Run(run).student.path)
    expected = predict(TorchRunner(student.model), test, student.card.preprocess)
    decoder = Decoder(bundle.manifest.preprocess)
    answers, used = [], 0
    try:
        with OnnxRunner(bundle.model("fp32")) as runner:
            predictor = Predictor(bundle, runner, variant="fp32")
            for name in test.names:
                read = decoder.decode(images / name, None)
                (answer,) = predictor.predict_canvases(read.canvas[None], [read.meta])
                answers.append(answer.logits)
                used += answer.told is not None and "age" in answer.told.used
    finally:
        decoder.close()
    difference = float(np.abs(np.stack(answers) - expected).max())
    return {"images": len(answers), "with_age": used, "max_difference": difference}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--work", type=Path, help="Folder for sets and runs, whose finished stages are kept.")
    options = parser.parse_args()
    profile = load_profile("x86-avx2")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        for seed in options.seeds:
            rows.append(one_seed(work, options.patients, seed, profile))
            show(rows[-1])
    write_json(
        Path(__file__).parent / "results" / "columns.json",
        {
            "schema_version": 1,
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "versions": versions(),
            "synthetic": True,
            "patients": options.patients,
            "settings": [*SETTINGS, f"columns.use={COLUMNS}"],
            "absent": Columns().absent,
            "profile": profile.name,
            "seeds": rows,
        },
    )


def show(row: dict[str, Any]) -> None:
    """A line for a seed."""
    print(
        f"seed {row['seed']}: test AUC {row['auc_image_alone']['value']:.3f} image alone, "
        f"{row['auc_with_columns']['value']:.3f} with columns (p {row['gain']['p']:.2g}), "
        f"{row['auc_told_with_all_absent']['value']:.3f} the same asked without, "
        f"{row['auc_int8_with_columns']['value']:.3f} INT8 student; device differs by "
        f"{row['device']['max_difference']:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
