"""A site with a tiny bundle installed, labelled images of its own, and answers of people."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bundles import png_bytes, write_tiny

from edgedx.core.bundle.manifest import Bundle
from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.threshold.cutoffs import Finding

PROMISE = {"metrics": {"test_auc": 0.95}, "gate": {"budget": 0.05, "rule": "value"}}


def site(folder: Path, **changes: object) -> tuple[Path, Bundle]:
    """Root of a device with the tiny bundle active, and the bundle as it was made."""
    root = folder / "root"
    return root, activate(folder, root, **changes)


def activate(folder: Path, root: Path, **changes: object) -> Bundle:
    """Make a version of the tiny bundle the active one."""
    bundle = write_tiny(folder / f"tiny-{changes.get('version', '1')}.edgedx", **{**PROMISE, **changes})
    install_bundle(bundle.path, root, allow_unsigned=True, examine=examine, prove=prove)
    return bundle


def labelled(folder: Path, each: int = 40, seed: int = 0, patients: int = 0, apart: float = 45) -> Path:
    """A table of grey images: brighter ones are mostly labelled bright, so that each threshold has its price."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(2 * each):
        bright = number % 2
        level = float(np.clip(rng.normal(128 + (apart if bright else -apart) / 2, 25), 5, 250))
        name = f"{number:04d}.png"
        noise = rng.integers(-4, 5, (24, 24))
        (folder / name).write_bytes(png_bytes(np.clip(level + noise, 0, 255).astype(np.uint8)))
        patient = f"P{number // 2 % patients}-{bright}" if patients else ""
        rows.append((name, "bright" if bright else "dark", patient, "F" if number % 4 < 2 else "M"))
    path = folder / "labels.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "patient_id", "sex"), *rows])
    return path


def finding(present: Sequence[bool], score: Sequence[float], patients: Sequence[str] = ()) -> Finding:
    """One class of images that exist nowhere."""
    names = np.array(patients or [str(number) for number in range(len(score))])
    return Finding("bright", np.asarray(present, bool), np.asarray(score, np.float64), names)


def drawn(cases: int, controls: int, seed: int) -> Finding:
    """Scores of people with and without a finding, from two overlapping distributions."""
    rng = np.random.default_rng(seed)
    score = np.concatenate([rng.beta(4, 2, cases), rng.beta(2, 4, controls)])
    return finding([True] * cases + [False] * controls, score.tolist())
