"""Does a shipped model know what it was not made for? Energy, Mahalanobis and k-nearest-neighbour scores compared.

    python benchmarks/ood.py pneumonia-mnist RUN --near OTHER_RUN

RUN was deployed (`edgedx deploy`), so that its bundle holds limits; OTHER_RUN holds the data set of other chest
radiographs. In distribution: the run's own test split. Near: images of OTHER_RUN, as prepared there. Far: crops of
scikit-learn's two photographs, its handwritten digits, noise, and the DICOM files that pydicom carries (CT, MR, US and
others; those that edgedx can read). FPR95 is the share of foreign images that pass where 95 % of the own test images
do. The rule that ships is the bundle's own limit, fitted on val; what it refuses is counted with a 95 % interval
(Wilson), and so is what conformal sets cover on test. Scores that do not ship are fitted here on the same features.
Writes ``benchmarks/results/ood-RECIPE.json``. Minutes of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.errors import ImageError
from edgedx.core.files import write_json
from edgedx.core.image import Image
from edgedx.core.preprocess import canvas, normalise
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.conformal import coverage
from edgedx.core.stats.metrics import roc_auc
from edgedx.core.stats.ood import energy, fit_space, limit_for, unpack_space
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import CAM, Output, Runner
from edgedx.dicom.reading.open import open_image
from edgedx.lab.data.dataset import Dataset
from edgedx.lab.data.prepare import open_data
from edgedx.lab.run.run import Run
from edgedx.lab.run.stage import machine, versions

Score = Callable[[Output], np.ndarray]
BATCH, NEAR = 64, 600


def ask(runner: Runner, recipe: Recipe, batches: Any) -> Output:
    """Logits and features of all canvases."""
    found = [runner.infer(normalise(batch, recipe.preprocess)) for batch in batches]
    assert all(one.features is not None for one in found)
    return Output(np.concatenate([one.logits for one in found]), np.concatenate([one.features for one in found]))  # type: ignore[misc]


def foreign(near: Dataset) -> dict[str, list[Image]]:
    """Images that the model was not made for."""
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(0)
    photographs = []
    for picture in load_sample_images().images:
        for _ in range(100):
            side = int(rng.integers(100, 400))
            top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
            photographs.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    digits = [(digit * 255 / 16).astype(np.uint8) for digit in load_digits().images[:400]]
    noise = [rng.integers(0, 256, (128, 128)).astype(np.uint8) for _ in range(100)]
    rows = np.linspace(0, len(near) - 1, min(NEAR, len(near))).astype(int)
    chests = [np.array(part[0]) for part in near.take(rows).batches(1)]
    arrays = {"near: other chest radiographs": chests, "far: photographs": photographs, "far: digits": digits,
              "far: noise": noise}  # fmt: skip
    return {name: [Image.of_array(one) for one in several] for name, several in arrays.items()} | {
        "far: DICOM of pydicom": dicom_files()
    }


def dicom_files() -> list[Image]:
    """What edgedx can read of the files in pydicom's own folder; nothing is fetched."""
    import pydicom

    images = []
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        try:
            images.append(open_image(path).image)
        except ImageError:
            continue
    return images


def scores(bundle: Bundle, variant: str, train: Output, labels: np.ndarray | None) -> dict[str, Score]:
    """What ships, and what might have."""
    from sklearn.covariance import ledoit_wolf

    limits = bundle.manifest.doubt.ood[variant]
    assert limits.file is not None and bundle.manifest.features is not None
    shipped = unpack_space(bundle.read(limits.file), bundle.manifest.features, limits.file)
    values = np.asarray(train.features, np.float64)
    groups = np.zeros(len(values), int) if labels is None else labels
    means = np.stack([values[groups == group].mean(axis=0) for group in np.unique(groups)])
    covariance, shrinkage = ledoit_wolf(values - means[groups], assume_centered=True)
    inverse = np.linalg.inv(covariance)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)

    def whole(found: Output) -> np.ndarray:
        parts = [np.asarray(found.features, np.float64) - mean for mean in means]
        return np.min([np.einsum("nd,de,ne->n", part, inverse, part) for part in parts], axis=0)

    def nearest(count: int) -> Score:
        def score(found: Output) -> np.ndarray:
            own = np.asarray(found.features, np.float64)
            own = own / np.linalg.norm(own, axis=1, keepdims=True)
            return np.partition(2 - 2 * own @ unit.T, count - 1, axis=1)[:, count - 1]

        return score

    def shrunk(directions: int) -> Score:
        space = fit_space(values, labels, directions)
        return lambda found: space.distance(found.features)  # type: ignore[arg-type]

    return {
        "Mahalanobis, 128 directions (ships)": lambda found: shipped.distance(found.features),  # type: ignore[arg-type]
        "energy (ships, told only)": lambda found: energy(found.logits),
        **{f"Mahalanobis, {count} directions": shrunk(count) for count in (16, 32, 64)},
        f"Mahalanobis, Ledoit-Wolf {shrinkage:.3f}": whole,
        "kNN, k 1, all of train": nearest(1),
        "kNN, k 10, all of train": nearest(10),
    }


def wilson(hits: int, count: int) -> list[float]:
    """Share with its 95 % interval (Wilson 1927)."""
    z, share = 1.96, hits / count
    middle, half = share + z * z / (2 * count), z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return [share, max(0.0, float((middle - half) / (1 + z * z / count))), float((middle + half) / (1 + z * z / count))]


def judge(recipe: Recipe, run: Path, near: Dataset, variant: str | None) -> dict[str, Any]:
    """All figures of one variant of a run's bundle."""
    path = Run(run).build().bundle
    bundle, data = open_bundle(path), open_data(recipe, run)
    name = variant or bundle.manifest.default_variant
    limits = bundle.manifest.doubt.ood[name]
    strangers = foreign(near)
    with open_runner(bundle, variant=name, threads=1) as runner:
        own = {split: ask(runner, recipe, data.subset(split).batches(BATCH)) for split in ("train", "val", "test")}
        others = {}
        for kind, images in strangers.items():
            canvases = np.stack([canvas(image, recipe.preprocess) for image in images])
            others[kind] = ask(runner, recipe, np.array_split(canvases, -(-len(canvases) // BATCH)))
    milliseconds = timed(bundle.model(name), recipe, cam=name in bundle.manifest.doubt.cam)
    labels = None if recipe.task.kind == "multilabel" else data.subset("train").labels
    rows: dict[str, Any] = {}
    for title, score in scores(bundle, name, own["train"], labels).items():
        inside = score(own["test"])
        limit = limit_for(score(own["val"]), limits.pass_rate)
        assert limit is not None
        row: dict[str, Any] = {"test_refused": float(np.mean(inside > limit))}
        for kind, answers in others.items():
            outside = score(answers)
            truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
            row[kind] = {
                "auroc": roc_auc(truth, np.r_[inside, outside]),
                "fpr95": float(np.mean(outside <= np.quantile(inside, 0.95))),
                "refused": float(np.mean(outside > limit)),
            }
        rows[title] = row
    shipped = rows["Mahalanobis, 128 directions (ships)"]
    refused = wilson(round(shipped["test_refused"] * len(own["test"].logits)), len(own["test"].logits))
    start = time.perf_counter()
    assert limits.file is not None and bundle.manifest.features is not None
    space = unpack_space(bundle.read(limits.file), bundle.manifest.features, limits.file)
    for index in range(200):
        row_of = own["test"].features[index % len(own["test"].logits)]  # type: ignore[index]
        space.distance(row_of[None])
    milliseconds["distance"] = 1e3 * (time.perf_counter() - start) / 200
    found: dict[str, Any] = {
        "bundle": {"digest": bundle.digest, "variant": name, "part_bytes": len(bundle.read(limits.file))},
        "images": {split: len(one.logits) for split, one in (own | others).items()},
        "own_test_refused": dict(zip(("share", "low", "high"), refused, strict=True)),
        "scores": rows,
        "milliseconds": milliseconds,
    }
    if (sets := bundle.manifest.doubt.sets.get(name)) is not None:
        test = data.subset("test")
        probabilities = calibrated_probabilities(own["test"].logits, recipe.task.kind, bundle.manifest.temperature)
        covered = coverage(sets, recipe.task.classes, test.labels, probabilities)
        sizes = (probabilities >= np.array([sets.least[one] for one in recipe.task.classes])).sum(axis=1)
        found["sets"] = {
            "promised": 1 - sets.alpha,
            "covered_on_test": covered,
            "val_cases": sets.cases,
            "test_share_by_size": {str(size): float(np.mean(sizes == size)) for size in np.unique(sizes)},
        }
    return found


def timed(model: bytes, recipe: Recipe, *, cam: bool) -> dict[str, float]:
    """Median milliseconds of one image, by turns: as it ships with the class activation map asked for and not, and
    without that output in the graph."""
    import onnx

    bare = onnx.load_from_string(model)
    if cam:
        del bare.graph.output[2]
        (node,) = (node for node in bare.graph.node if node.output[0] == CAM)
        bare.graph.node.remove(node)
    image = np.zeros((1, *recipe.preprocess.input_shape), np.float32)
    spent: dict[str, list[float]] = {"infer": [], "infer_with_cam": [], "infer_graph_without_cam": []}
    with OnnxRunner(model, threads=1) as shipped, OnnxRunner(bare.SerializeToString(), threads=1) as plain:
        turns = ((shipped, False), (shipped, True), (plain, False))
        for _ in range(500):
            for times, (runner, asked) in zip(spent.values(), turns, strict=True):
                start = time.perf_counter()
                runner.infer(image, cam=asked)
                times.append(time.perf_counter() - start)
    return {kind: 1e3 * float(np.median(times)) for kind, times in spent.items()}


def table(found: dict[str, Any]) -> str:
    """For people."""
    kinds = [kind for kind in found["images"] if ":" in kind]
    lines = [f"{'score':38} {'own test':>8} " + " ".join(f"{kind[:26]:>26}" for kind in kinds)]
    lines.append(f"{'':38} {'refused':>8} " + " ".join(f"{'AUROC  FPR95  refused':>26}" for _ in kinds))
    for title, row in found["scores"].items():
        cells = [f"{row[kind]['auroc']:.3f}  {row[kind]['fpr95']:.3f}  {row[kind]['refused']:7.3f}" for kind in kinds]
        lines.append(f"{title:38} {row['test_refused']:8.4f} " + " ".join(f"{cell:>26}" for cell in cells))
    refused = found["own_test_refused"]
    lines.append(f"own test refused {refused['share']:.4f} [{refused['low']:.4f}, {refused['high']:.4f}]")
    if "sets" in found:
        lines.append(f"sets: promised {found['sets']['promised']:g}, covered {found['sets']['covered_on_test']}")
        lines.append(f"      of size {found['sets']['test_share_by_size']}")
    lines.append(f"ms: {found['milliseconds']}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("run", type=Path)
    parser.add_argument("--near", type=Path, required=True, help="run folder with another set of the same organ")
    parser.add_argument("--near-recipe", default="chest-xray3")
    parser.add_argument("--variant")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [])
    near = open_data(load_recipe(options.near_recipe, []), options.near)
    found = judge(recipe, options.run, near, options.variant)
    out = options.out or Path(__file__).parent / "results" / f"ood-{recipe.name}.json"
    write_json(out, {"benchmark": "ood", "machine": machine(), "versions": versions(), **found})
    print(table(found))
    print(f"written {out}")


if __name__ == "__main__":
    main()
