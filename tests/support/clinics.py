"""A small model in service, and what clinics answered about new images: real training, real bundle, signed exports."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tiny
from tiny_flow import RECIPE
from yaml import safe_load

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.bundle.signing import load_signing_key, new_key
from edgedx.core.files import sha256_bytes
from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.device.clinic.answers_export import ExportedAnswer, png_of, write_answers
from edgedx.device.machine.match import profile_for
from edgedx.lab.compress.compress import compress
from edgedx.lab.run.run import Run
from edgedx.lab.ship.deploy import deploy
from edgedx.lab.train.finetune import finetune

PROFILE = "x86-avx2"
SIDE = 32


def picture(seed: int, bright: bool, level: float = 100.0) -> np.ndarray:
    """Noise of (SIDE, SIDE) uint8 around `level`, with a square if `bright`; a clinic's machine has its own level."""
    pixels = np.random.default_rng(seed).normal(level, 20, (SIDE, SIDE))
    if bright:
        pixels[8:20, 8:20] += 100
    return pixels.clip(0, 255).astype(np.uint8)


def make_deployed(folder: Path, patients: int = 160) -> tuple[Recipe, Run]:
    """Data set, run, student and bundle; FP32 alone."""
    root = folder / "set"
    entries = []
    for patient in range(patients):
        name = f"images/p{patient:03d}.png"
        tiny.write_picture(root / name, picture(patient, patient % 2 == 1))
        row = {"image": name, "label": tiny.CLASSES[patient % 2], "patient_id": f"p{patient:03d}"}
        entries.append({**row, "sex": "FM"[patient // 2 % 2]})
    tiny.write_table(root, entries)
    raw = copy.deepcopy(safe_load(RECIPE))
    raw["data"] = {"source": "csv", "path": str(root), "subgroup_columns": ["sex"], "fractions": [0.5, 0.2, 0.3]}
    raw["student"] = {"macs": 1.0, "epochs": 1}
    raw["model"]["backbone"] = "test_efficientnet"
    raw["train"] |= {"epochs": 3, "batch_size": 8, "learning_rate": 0.005, "ema": 0.9}
    raw["update"] = {"epochs": 1, "learning_rate": 0.002, "least_judged": 6, "max_gap_widening": 0.5}
    recipe = parse_recipe(raw)
    run = Run(folder / "runs" / "tiny")
    finetune(recipe, run)
    run.keep_recipe(recipe)
    profile = profile_for(PROFILE)
    compress(recipe, run, profile, int8=False)
    deploy(recipe, run, profile, force=True)
    return recipe, run


def make_export(
    folder: Path,
    run: Run,
    site: str,
    *,
    first: int = 1000,
    count: int = 40,
    level: float = 140.0,
    bundle: str | None = None,
    second_opinion: Sequence[int] = (),
    unsure: Sequence[int] = (),
    wrong: Sequence[int] = (),
    key: str | None = None,
    created: str = "2026-11-27",
) -> tuple[Path, Path]:
    """A signed export of a clinic, and its public key.

    Parameters
    ----------
    second_opinion, unsure, wrong : sequence of int
        Images, counted from 0, of which a second person says otherwise, nobody can tell, or the label is wrong.
    """
    opened = open_bundle(run.bundle(PROFILE))
    digest = bundle or opened.digest
    answers, canvases = [], {}
    for number in range(count):
        bright = number % 2 == 1
        canvas = picture(first + number, bright, level)
        image = sha256_bytes(canvas.tobytes())
        truth = tiny.CLASSES[bright != (number in wrong)]
        told = [("p1", "" if number in unsure else truth)]
        if number in second_opinion:
            told.append(("p2", tiny.CLASSES[not bright]))
        for person, label in told:
            shown = tiny.CLASSES[bright]
            verdict = "cannot_tell" if not label else "agree" if label == shown else "disagree"
            answers.append(
                ExportedAnswer(
                    image, sha256_bytes(f"key {image}".encode()), digest, created, verdict, label, shown,
                    number % 20 == 0, "", person, f"q{number // 2}",
                )
            )  # fmt: skip
        canvases[image] = png_of(canvas)
    name = key or site
    if not (folder / f"{name}.key").exists():
        new_key(name, folder)
    path = folder / f"{site}-{created}.answers"
    signing = load_signing_key(folder / f"{name}.key")
    write_answers(
        path, (digest, opened.manifest), answers, canvases, site=site, created=created, edgedx="0", keys=[signing]
    )
    return path, folder / f"{name}.pub"
