"""The whole way in minutes: fine-tune, compress, deploy, bench, and scan a folder of DICOM files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import sign_bundle
from edgedx.core.bundle.signing import SigningKey, load_signing_key, new_key
from edgedx.core.errors import WeightsMissing
from edgedx.core.image import Image
from edgedx.core.settings.profile import DeviceProfile
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.device.install.install import install_bundle
from edgedx.device.install.trust import pin
from edgedx.dicom.writing.make import write_dicom
from edgedx.lab.compress.compress import compress
from edgedx.lab.data.download import have_or_fetch
from edgedx.lab.data.prepare import open_data
from edgedx.lab.data.sources import cache_folder, locate, open_source
from edgedx.lab.evidence.bench import Contender, bench, contender, write_bench
from edgedx.lab.run.device_build import DeviceBuild
from edgedx.lab.run.run import Run
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.train.finetune import finetune

# Less work than the recipe has, so that two cores are done in a few minutes. The phantom recipe is quick as it is.
QUICK = ["train.epochs=2", "student.epochs=2", "student.recovery_epochs=0.2", "quantize.calibration_images=256"]
SCANNED = 24


def demo_recipe(say: Callable[[str], None]) -> Recipe:
    """PneumoniaMNIST where it is here or can be had, else the built-in phantoms; says which, and why."""
    recipe = load_recipe("pneumonia-mnist", QUICK)
    if have_or_fetch(recipe):
        say(f"data: {locate(str(recipe.data.path))}")
        return recipe
    say(
        f"data: generated phantoms, since {recipe.data.path} is neither below EDGEDX_DATA nor in {cache_folder()}, "
        "and could not be downloaded"
    )
    return load_recipe("phantom")


def run_demo(recipe: Recipe, out: Path, profile: DeviceProfile, say: Callable[[str], None]) -> dict[str, Any]:
    """Run all stages of `recipe` below `out`; finished ones are not repeated.

    Parameters
    ----------
    say : callable
        Told what happens next, in a few words.

    Returns
    -------
    dict
        Records of the stages, the rows of the bench, and where the inbox and the installed bundle are.
    """
    run = out / "run"
    say(f"1/5 fine-tune {recipe.model.backbone} on {recipe.title}")
    try:
        teacher = finetune(recipe, run, resume=True)
    except WeightsMissing:
        say("    no pretrained weights here: training from scratch")
        teacher = finetune(recipe, run, from_scratch=True, resume=True)
    say(f"2/5 compress for {profile.title}: prune, distil, quantize")
    compressed = compress(recipe, run, profile, int8=True, resume=True)
    say("3/5 deploy: gate, signed bundle, install with golden samples")
    shipped = deploy(recipe, run, profile)
    bundle = Path(shipped["metrics"]["bundle"])
    sign_bundle(bundle, [_demo_key(out / "keys", out / "device")])
    installed = install_bundle(bundle, out / "device")
    say("4/5 bench against a full model")
    rows = bench(
        contenders(recipe, Run(run), Run(run).build(profile.name)),
        threads=recipe.bench.threads,
        seconds=recipe.bench.seconds,
    )
    report = write_bench(rows, out / "bench", f"{recipe.title}\n{recipe.bench.threads} thread(s), batch 1")
    say(f"5/5 scan a folder of {SCANNED} DICOM files")
    inbox = make_inbox(recipe, run, out / "inbox")
    return {
        "schema_version": 1,
        "recipe": recipe.name,
        "synthetic": recipe.synthetic,
        "teacher": teacher["metrics"]["test"],
        "compress": compressed["metrics"],
        "deploy": shipped["metrics"],
        "bench": report,
        "inbox": str(inbox),
        "installed": str(installed.current),
    }


def _demo_key(folder: Path, root: Path) -> SigningKey:
    """A key of the demo's own, made once and trusted by its device: the demo takes the way that a release takes."""
    secret = folder / "demo.key"
    if not secret.exists():
        new_key("demo", folder)
    pin(root, folder / "demo.pub")
    return load_signing_key(secret)


def contenders(recipe: Recipe, run: Run, build: DeviceBuild) -> list[Contender]:
    """Teacher, each variant of the student (the chosen one marked), and the full model for its latency."""
    teacher = replace(contender(str(run.teacher.path), None), name="teacher, FP32")
    shipped = build.shipped.name
    students = [
        Contender(
            f"student, {name}{' (chosen)' if name == shipped else ''}",
            variant.path.read_bytes(),
            recipe.preprocess,
            variant.entry["test"],
        )
        for name, variant in build.variants.items()
    ]
    full = contender(recipe.bench.full_model, recipe.preprocess)
    return [teacher, *students, full]


def make_inbox(recipe: Recipe, run: Path, folder: Path) -> Path:
    """A fresh folder of DICOM files of the test split: the phantoms' own, or npz images wrapped as CR."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    test = open_data(recipe, run).subset("test")
    source = open_source(recipe)
    rows = {row.name: row for row in source.rows}
    chosen = np.linspace(0, len(test) - 1, SCANNED).astype(int)
    for number, name in enumerate(test.names[index] for index in chosen):
        target = folder / f"image-{number:03d}.dcm"
        if recipe.data.source == "phantom":
            shutil.copyfile(Path(source.origin) / name, target)
        else:
            image: Image = source.read(rows[name])[0]
            write_dicom(
                target,
                np.asarray(image.pixels),
                kind="CR",
                comments="from a public data set",
                instance_number=number + 1,
            )
    return folder
