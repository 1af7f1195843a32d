"""Made-up clinics for the tests of the monitor: a model of two classes, and images as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.reference import Correction, Given, Numbers, Reference
from edgedx.core.stats.drift import quantile_grid
from edgedx.device.monitor.store import MONITOR, Watched
from edgedx.device.monitor.streams import Observation

ABOUT = {"name": "chest 1", "task": "binary", "classes": ["normal", "pneumonia"], "positive": "pneumonia"}
NOON = 1_795_000_000 // 86400 * 86400 + 43200  # a day of November 2026
A_DAY = 50
Change = Callable[[Observation, np.random.Generator], Observation]


def chances(count: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth and calibrated probabilities where half of the images show it, of images of which `share` do."""
    present = rng.random(count) < share
    evidence = rng.normal(np.where(present, 1.0, -1.0) * 2.0, 2.0)  # log odds 2 m x / s^2 = x
    return present, 1 / (1 + np.exp(-evidence))


def reference(images: int = 400, seed: int = 1, **changes: Any) -> Reference:
    """Of a model that was made where half of the patients have it."""
    rng = np.random.default_rng(seed)
    present, told = chances(images, 0.5, rng)
    numbers = {
        "probability:pneumonia": told,
        "distance": rng.normal(1, 0.1, images),
        "mean": rng.normal(0.5, 0.1, images),
        "sharpness": rng.normal(-5, 0.5, images),
    }
    grids = {name: Numbers(grid=quantile_grid(values, 201).tolist(), worth=images) for name, values in numbers.items()}
    given = Given(
        present=quantile_grid(told[present], 201).tolist(),
        absent=quantile_grid(told[~present], 201).tolist(),
        images_present=int(present.sum()),
        images_absent=int((~present).sum()),
    )
    built = {"normal": 0.5, "pneumonia": 0.5}
    plain = Correction(scale={name: 1.0 for name in built}, bias={name: 0.0 for name in built}, built=built)
    fields: dict[str, Any] = {
        "images": images,
        "numbers": grids,
        "unlike": 0.01,
        "called": {"normal": 0.5, "pneumonia": 0.5},
        "repeats": 0.0,
        "built": built,
        "correction": plain,
        "given": {"pneumonia": given},
        "ece": 0.02,
    }
    return Reference(**{**fields, **changes})


def images(
    count: int, *, first: int = 0, share: float = 0.5, day: int = 0, change: Change | None = None
) -> list[Observation]:
    """Images of a clinic, `A_DAY` each day."""
    rng = np.random.default_rng(1000 + first)
    _, told = chances(count, share, rng)
    found = []
    for number in range(count):
        chance = float(told[number])
        one = Observation(
            key=f"{first + number:064x}",
            when=NOON + 86400 * (day + number // A_DAY) + number % A_DAY,
            trusted=True,
            called=("pneumonia" if chance >= 0.5 else "normal",),
            unlike=bool(rng.random() < 0.01),
            probabilities={"normal": 1 - chance, "pneumonia": chance},
            thresholds={"pneumonia": 0.5},
            numbers={"probability:pneumonia": chance, "distance": float(rng.normal(1, 0.1)),
                     "mean": float(rng.normal(0.5, 0.1)), "sharpness": float(rng.normal(-5, 0.5))},
            categories={"device": "aa", "view": str(rng.choice(["PA", "AP"])), "sex": str(rng.choice(["F", "M"]))},
            mark=rng.bytes(32),
        )  # fmt: skip
        found.append(change(one, rng) if change else one)
    return found


def brighter(one: Observation, rng: np.random.Generator) -> Observation:
    """Another setting of the machine."""
    return replace(one, numbers={**one.numbers, "mean": one.numbers["mean"] + 0.06})


def inverted(one: Observation, rng: np.random.Generator) -> Observation:
    """Nothing that the model knows."""
    return replace(
        one, unlike=bool(rng.random() < 0.6), numbers={**one.numbers, "distance": one.numbers["distance"] + 1}
    )


def other_machine(one: Observation, rng: np.random.Generator) -> Observation:
    """The header names another machine in most images."""
    return replace(one, categories={**one.categories, "device": "bb" if rng.random() < 0.7 else "aa"})


def calibrating(one: Observation, rng: np.random.Generator) -> Observation:
    """Every tenth image is the same one."""
    return replace(one, mark=b"\x0f" * 32) if rng.random() < 0.1 else one


def refused(one: Observation, rng: np.random.Generator) -> Observation:
    """A third has no answer: the wrong modality is routed here."""
    if rng.random() > 0.33:
        return one
    return replace(one, refused="MODALITY", probabilities={}, called=(), thresholds={}, numbers={}, categories={},
                   unlike=None, mark=None)  # fmt: skip


def write(out: Path, batches: Sequence[list[Observation]], made: Reference | None = None) -> None:
    """As a scanner leaves it, with the site's own reference where there are images enough for it."""
    from edgedx.device.monitor.sample import Sample
    from edgedx.device.monitor.usual import FIRST, usual_of

    out.mkdir(exist_ok=True)
    store = Watched(out / MONITOR)
    try:
        model = store.begin("b" * 64, "fp32", ABOUT, None if made is None else made.model_dump_json())
        for batch in batches:
            store.add(model, batch)
        known = store.model()
        assert known is not None
        if known.usual is None and store.count(model) >= FIRST:
            store.keep_usual(model, usual_of(Sample(store.first(model, FIRST))).model_dump_json())
    finally:
        store.close()
