"""Where heat maps lie: does `preprocess.crop: content` take them off the border, do boxes in training help them hit?

    python benchmarks/heatmap_places.py [--parts crop boxes] [--seeds 0 1 2] [--runs runs/places]

- crop: chest-xray3 (three classes; borders and letters of several sources) with whole images and with their content:
  test AUC, and the share of the maps' weight on the border, all test images, paired by image. Needs EDGEDX_DATA.
- boxes: generated phantoms, whose opacities have boxes, with `augment.roi` 0 and 0.5: test AUC, and the pointing game
  and its energy form on the test images with an opacity. What is found on drawings need not hold on patients.

Teachers alone, 128 pixels and, of phantoms, 96; the maps are exact class activation maps (4 x 4 and 3 x 3 places) and,
of 24 phantoms, integrated gradients. Runs are ordinary ones, and finished ones are read: a stopped call goes on.
About two minutes of a quiet core for each of twelve runs. Writes ``benchmarks/results/heatmap_places.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import read_json, write_json, write_text
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.resample import RESAMPLES
from edgedx.core.table import csv_text, read_table
from edgedx.dicom.writing.phantom import BOXES, write_phantoms
from edgedx.lab.evidence.explain.fidelity import means
from edgedx.lab.evidence.explain.images import of_split
from edgedx.lab.evidence.explain.methods import heat_maps
from edgedx.lab.evidence.explain.models import classes_to_explain, opened
from edgedx.lab.evidence.explain.pointing import border_ring, in_regions, on_border, tolerance_pixels
from edgedx.lab.evidence.explain.regions import regions_of
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import finetune

HERE = Path(__file__).parent
RESULT = HERE / "results" / "heatmap_places.json"
SIDES = {"crop": 128, "boxes": 96}
EPOCHS, PATIENTS = 6, 300
METHODS = {"crop": {"cam": 10**6}, "boxes": {"cam": 10**6, "ig": 24}}
"""Images at most: integrated gradients ask a model 32 times about each."""
Figures = dict[str, np.ndarray]


def crop_recipe(arm: str, seed: int, _: Path) -> Recipe:
    """Whole images or their content."""
    return load_recipe(str(HERE / "modalities" / "chest3.yaml"), [*_common("crop", seed), f"preprocess.crop={arm}"])


def boxes_recipe(arm: str, seed: int, runs: Path) -> Recipe:
    """Phantoms with a box around all opacities of an image, seen enlarged half of the time or never."""
    folder = (runs / "phantoms").resolve()
    if not (folder / "boxed.csv").is_file():
        write_phantoms(folder, PATIENTS, 0)
        _join(folder)
    changes = [
        "data.source=csv",
        f"data.path={folder}",
        "data.csv=boxed.csv",
        "data.roi_columns=[left,top,width,height]",
    ]
    return load_recipe("phantom", [*_common("boxes", seed), *changes, f"augment.roi={0.5 if arm == 'boxes' else 0}"])


def _common(part: str, seed: int) -> list[str]:
    return [
        f"preprocess.size=[{SIDES[part]},{SIDES[part]}]",
        "data.folds=null",
        f"train.epochs={EPOCHS}",
        f"train.seed={seed}",
    ]


def _join(folder: Path) -> None:
    """The table of labels with one box around all of an image's."""
    rows, columns = read_table(folder / "labels.csv")
    corners: dict[str, list[tuple[int, ...]]] = {}
    for box in read_table(folder / BOXES)[0]:
        left, top = int(box["left"]), int(box["top"])
        corners.setdefault(box["image"], []).append((left, top, left + int(box["width"]), top + int(box["height"])))
    lines = []
    for row in rows:
        found = corners.get(row["image"])
        cells: list[object] = ["", "", "", ""]
        if found:
            left, top = (min(one[at] for one in found) for at in (0, 1))
            cells = [left, top, max(one[2] for one in found) - left, max(one[3] for one in found) - top]
        lines.append([*(row[column] for column in columns), *cells])
    write_text(folder / "boxed.csv", csv_text([*columns, "left", "top", "width", "height"], lines))


def border_figures(maps: np.ndarray, _: np.ndarray) -> Figures:
    """Share on the border."""
    return {"border": on_border(maps)}


def region_figures(maps: np.ndarray, masks: np.ndarray) -> Figures:
    """Both games on images with an opacity, against the same model's map of another one."""
    return in_regions(maps, masks, np.roll(np.arange(len(maps)), len(maps) // 2))


def run_figures(run: Run, recipe: Recipe, part: str, where: Path | None) -> dict[str, Any]:
    """Test metrics of a teacher and, of each test image in the order of the data set, what its maps show."""
    kept = run.path / "places.npz"
    subject = open_subject(run.teacher.path)
    images = of_split(subject, "test", 10**6, 0)
    order = np.argsort(images.names)
    if not kept.is_file():
        regions = regions_of(images, where, subject.preprocess) if where else None
        masks = np.zeros(images.canvases.shape[:3], bool) if regions is None else regions.masks
        wanted = recipe.task.positive if part == "boxes" else None
        figures: Figures = {}
        with opened([subject]) as (model,):
            classes = classes_to_explain(model, model.probabilities(images.canvases), wanted)
            rows = order if regions is None else order[masks[order].any(axis=(1, 2))]
            for method, most in METHODS[part].items():
                few = np.random.default_rng(0).permutation(rows)[:most] if most < len(rows) else rows
                maps = heat_maps(model, method, images.canvases[few], classes[few])
                for name, values in PARTS[part][2](maps, masks[few]).items():
                    spread = np.full(len(images), np.nan)
                    spread[few] = values
                    figures[f"{method} {name}"] = spread[rows]
        np.savez(kept, rows=rows, **figures)
    with np.load(kept, allow_pickle=False) as archive:
        figures = {name: archive[name] for name in archive.files}
    rows = figures.pop("rows")
    names, patients = [images.names[row] for row in rows], [images.patients[row] for row in rows]
    test = run.teacher.metrics["test"]
    return {
        "auc": test["auc"],
        "accuracy": test.get("accuracy"),
        "figures": figures,
        "names": names,
        "patients": patients,
    }


def of_common(arms: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Figures], list[str]]:
    """Figures of each arm, the mean over seeds of each image, of the test images that both arms have; their patients.

    What is cut looks alike elsewhere, so that a few near-duplicates are bound otherwise and the splits differ by them.
    """
    first = next(iter(arms.values()))[0]
    common = [name for name in first["names"] if all(name in row["names"] for rows in arms.values() for row in rows)]
    together: dict[str, Figures] = {}
    for arm, rows in arms.items():
        places = [[row["names"].index(name) for name in common] for row in rows]
        together[arm] = {
            name: np.mean([row["figures"][name][at] for row, at in zip(rows, places, strict=True)], axis=0)
            for name in rows[0]["figures"]
        }
    return together, [first["patients"][first["names"].index(name)] for name in common]


def judged(part: str, seeds: list[int], runs: Path) -> dict[str, Any]:
    """Both arms, all seeds; intervals are over patients, of the mean over seeds of each image that both arms have."""
    arms, recipe_of, _ = PARTS[part]
    done: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for arm in arms:
        for seed in seeds:
            recipe, run = recipe_of(arm, seed, runs), Run(runs / f"{part}-{arm}-{seed}")
            run.keep_recipe(recipe)
            finetune(recipe, run, resume=True)
            where = runs / "phantoms" / BOXES if part == "boxes" else None
            done[arm].append(run_figures(run, recipe, part, where))
            print(f"{part} {arm} seed {seed}: AUC {done[arm][-1]['auc']['value']:.3f}", flush=True)
    together, patients = of_common(done)
    found: dict[str, Any] = {"images": len(patients)}
    for arm, rows in done.items():
        shares = means(together[arm], patients, resamples=RESAMPLES, seed=0)
        found[arm] = {
            "auc": [row["auc"] for row in rows],
            "accuracy": [row["accuracy"] for row in rows],
            "maps": {name: value.to_dict() for name, value in shares.items()},
        }
    paired = {name: together[arms[1]][name] - together[arms[0]][name] for name in together[arms[0]]}
    differences = means(paired, patients, resamples=RESAMPLES, seed=0)
    found["difference"] = {name: value.to_dict() for name, value in differences.items()}
    return found


Recipes = Callable[[str, int, Path], Recipe]
PARTS: dict[str, tuple[tuple[str, str], Recipes, Callable[..., Figures]]] = {
    "crop": (("none", "content"), crop_recipe, border_figures),
    "boxes": (("plain", "boxes"), boxes_recipe, region_figures),
}


def main() -> None:
    """Judge, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/places"))
    options = parser.parse_args()
    kept = read_json(RESULT) if RESULT.is_file() else {}
    for part in options.parts:
        kept[part] = {"seeds": options.seeds, **judged(part, options.seeds, options.runs)}
        facts = {"schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions()}
        facts |= {"sides": SIDES, "epochs": EPOCHS, "phantom_patients": PATIENTS, "most_images": METHODS}
        facts["border_area"] = float(border_ring((SIDES["crop"],) * 2).mean())
        facts["tolerance_pixels"] = tolerance_pixels((SIDES["boxes"],) * 2)
        write_json(RESULT, {**facts, **{name: kept[name] for name in PARTS if name in kept}})
        for name, difference in kept[part]["difference"].items():
            first, second = (kept[part][arm]["maps"][name]["value"] for arm in PARTS[part][0])
            print(f"{part:<6} {name:<26} {first:.3f} -> {second:.3f}, difference {difference['value']:+.3f} "
                  f"({difference['low']:+.3f} to {difference['high']:+.3f})")  # fmt: skip


if __name__ == "__main__":
    main()
