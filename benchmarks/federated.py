"""What hospitals gain from training together: each alone, federated by three methods, and all images in one place.

    EDGEDX_DATA=... python benchmarks/federated.py [--rounds 6] [--side 64] [--sets chest skin] [--ways fedavg ...]

Skin lesions of HAM10000 by ``source`` (four collections; malignant or not), and chest X-rays of children and of adults
as two hospitals (cxr_pneumonia_kermany, chest-xray3; normal or pneumonia). Every model is judged on held-out images of
each site: AUC with a 95 % bootstrap interval over patients (lesions), and paired differences from the model that the
site trains alone. A site alone and the centralised model train for as many epochs as a federation has rounds. Sites are
code in one process, one after another. Finished trainings are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import write_json
from edgedx.core.settings.recipe import Recipe, parse_recipe
from edgedx.core.stats.cases import Cases, predictions_of_logits
from edgedx.core.stats.paired import compare
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset
from edgedx.lab.data.predict import predict
from edgedx.lab.federated.flower import need_flower
from edgedx.lab.judge.teacher_answers import cases_of
from edgedx.lab.network.checkpoint import save_checkpoint
from edgedx.lab.network.torch_runner import TorchRunner
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.stage import machine, versions
from edgedx.lab.train.finetune import fit_teacher

Changes = dict[str, dict[str, Any]]
METHODS: dict[str, Changes] = {
    "fedavg": {},
    "fedprox": {"federated": {"method": "fedprox"}},
    "fedbn": {"federated": {"method": "fedbn"}},
}
"""What a recipe has else for each way to federate, by section."""
MALIGNANT = {"akiec": "malignant", "bcc": "malignant", "mel": "malignant"}
BENIGN = {"bkl": "benign", "nv": "benign", "df": "benign", "vasc": "benign"}
COLOUR = {"colour": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
POINT = OperatingPoint(name="argmax", threshold={})
Parts = dict[str, Dataset]


def recipe_of(task: list[str], data: dict[str, Any], options: argparse.Namespace, **preprocess: Any) -> Recipe:
    """A recipe of the benchmark; half of the patients are held out, so that intervals are narrow enough to read."""
    raw = {
        "name": "federated",
        "title": "benchmark",
        "task": {"kind": "binary", "classes": task, "positive": task[1]},
        "data": {
            "source": "csv", "fractions": [0.5, 0.1, 0.4], "near_duplicates": "ignore", "seed": options.seed, **data
        },
        "preprocess": {"size": [options.side, options.side], "window": "none", "bits": 8, **preprocess},
        "model": {"backbone": "tf_efficientnet_lite0"},
        "train": {"epochs": options.rounds, "batch_size": 32, "seed": options.seed},
        "federated": {"rounds": options.rounds, "proximal_weight": 0.01},
    }  # fmt: skip
    return parse_recipe(raw)


def read(recipe: Recipe, folder: Path) -> Dataset:
    """A data set, built once."""
    if not (folder / "manifest.csv").is_file():
        build_dataset(recipe, folder)
    return load_dataset(folder, recipe.task.kind, recipe.preprocess)


def skin(options: argparse.Namespace) -> tuple[Recipe, Parts]:
    """Four collections."""
    data = {
        "path": "skin_ham10000", "patient_column": "group_id", "subgroup_columns": ["source"],
        "label_names": {**MALIGNANT, **BENIGN},
    }  # fmt: skip
    recipe = recipe_of(["benign", "malignant"], data, options, **COLOUR)
    whole = read(recipe, options.work / "skin")
    sources = np.array([groups["source"] for groups in whole.subgroups])
    return recipe, {str(name): whole.take(np.flatnonzero(sources == name)) for name in sorted(set(sources))}


def chest(options: argparse.Namespace) -> tuple[Recipe, Parts]:
    """Children of one hospital, adults of others; as many images of the first as of the second."""
    children = recipe_of(["normal", "pneumonia"], {"path": "cxr_pneumonia_kermany"}, options)
    names = {"no_findings": "normal"}
    adults = recipe_of(["normal", "pneumonia"], {"path": "chest-xray3", "label_names": names}, options)
    old, young = read(adults, options.work / "adults"), read(children, options.work / "children")
    order = np.random.default_rng(options.seed).permutation(len(young))[: len(old)]
    return children, {"children": young.take(np.sort(order)), "adults": old}


def joined(parts: Parts) -> Dataset:
    """All sites' images in one place."""
    sets = list(parts.values())
    canvases = np.concatenate([np.asarray(part.canvases[part.rows]) for part in sets])
    return replace(
        sets[0],
        names=[name for part in sets for name in part.names],
        patients=[f"{site}/{one}" for site, part in parts.items() for one in part.patients],
        labels=np.concatenate([part.labels for part in sets]),
        splits=[split for part in sets for split in part.splits],
        canvases=canvases,
        rows=np.arange(len(canvases)),
        subgroups=[{}] * len(canvases),
    )


def answers(model: Any, recipe: Recipe, parts: Parts) -> dict[str, np.ndarray]:
    """Logits for the test images of each site."""
    return {name: predict(TorchRunner(model), part.subset("test"), recipe.preprocess) for name, part in parts.items()}


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """A recipe with other settings in some sections."""
    raw = recipe.model_dump(mode="json")
    for section, values in changes.items():
        raw[section] |= values
    return parse_recipe(raw)


def trained(
    name: str, recipe: Recipe, parts: Parts, folder: Path, methods: dict[str, Changes] = METHODS
) -> dict[str, np.ndarray]:
    """Logits of one way of training at each site: ``alone:SITE``, ``together``, or one of `methods`."""
    kept = folder / f"{name.replace(':', '-')}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as arrays:
            return dict(arrays)
    begun = time.monotonic()
    if name in methods:
        logits = _federated(changed(recipe, methods[name]), parts, folder / name)
    else:
        data = joined(parts) if name == "together" else parts[name.partition(":")[2]]
        state = folder / f"{name.replace(':', '-')}.safetensors"
        model, _, _ = fit_teacher(recipe, data, state=state, resume=True, title=name)
        logits = answers(model, recipe, parts)
        state.unlink(missing_ok=True)
    logits["seconds"] = np.array([time.monotonic() - begun])
    np.savez(kept, **logits)
    return logits


def _federated(chosen: Recipe, parts: Parts, place: Path) -> dict[str, np.ndarray]:
    from edgedx.lab.federated.simulate import federate_here

    place.mkdir(parents=True, exist_ok=True)
    own: dict[str, np.ndarray] = {}

    def keep(site: Any, model: Any) -> None:
        own[f"{site.name} own"] = predict(TorchRunner(model), site.parts["test"], chosen.preprocess)

    _, origin, model = federate_here(chosen, parts, place / "state.safetensors", resume=True, each=keep)
    card = ModelCard(
        backbone=chosen.model.backbone, task=chosen.task, preprocess=chosen.preprocess, role="teacher",
        weights_from=origin,
    )  # fmt: skip
    save_checkpoint(place, model, card)
    logits = answers(model, chosen, parts)
    return {**logits, **(own if chosen.federated.method == "fedbn" else {})}


def judged(recipe: Recipe, parts: Parts, logits: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """For each site the AUC of each model, and its difference from the model of that site alone."""
    result: dict[str, Any] = {}
    for site, part in parts.items():
        test = part.subset("test")
        cases: Cases = replace(cases_of(test, recipe.task), subgroups=[{}] * len(test))
        rows = {"alone": logits[f"alone:{site}"][site]}
        rows |= {f"alone at {other}": logits[f"alone:{other}"][site] for other in parts if other != site}
        for way, given in logits.items():
            if not way.startswith("alone:"):
                rows[way] = given[site]
            if f"{site} own" in given:
                rows[f"{way}, own layers"] = given[f"{site} own"]
        base = predictions_of_logits(cases, rows["alone"], 1.0, POINT)
        figures: dict[str, Any] = {}
        for name, values in rows.items():
            found = compare(cases, base, predictions_of_logits(cases, values, 1.0, POINT)).whole.auc
            drop = found.drop.to_dict()
            gain = {"value": -drop["value"], "low": -drop["high"], "high": -drop["low"]}
            figures[name] = {"auc": found.student.to_dict(), "more_than_alone": gain}
        positive = int((test.labels == recipe.task.positive_index).sum())
        train = len(part.subset("train"))
        result[site] = {"train": train, "test": len(test), "positive": positive, "models": figures}
    return result


def arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """What both benchmarks of federations are told."""
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark/federated"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=out)


def show(report: dict[str, Any]) -> None:
    """Print a report."""
    for name, one in report["sets"].items():
        for site, found in one["sites"].items():
            print(f"{name}, {site}: {found['train']} to train, {found['positive']} of {found['test']} positive in test")
            for model, figures in found["models"].items():
                auc, more = figures["auc"], figures["more_than_alone"]
                told = f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
                print(f"  {model:<44} {told}  {more['value']:+.3f} [{more['low']:+.3f}, {more['high']:+.3f}]")


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser, Path(__file__).parent / "results" / "federated.json")
    parser.add_argument("--sets", nargs="+", choices=["chest", "skin"], default=["chest", "skin"])
    parser.add_argument("--ways", nargs="+", choices=[*METHODS, "together"], default=[*METHODS, "together"])
    options = parser.parse_args()
    need_flower()
    report: dict[str, Any] = {
        "schema_version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
        "side": options.side, "rounds": options.rounds, "seed": options.seed, "sets": {},
    }  # fmt: skip
    for name in options.sets:
        recipe, parts = {"chest": chest, "skin": skin}[name](options)
        ways = [*(f"alone:{site}" for site in parts), *options.ways]
        logits = {way: trained(way, recipe, parts, options.work / f"{name}-models") for way in ways}
        seconds = {way: round(float(logits[way]["seconds"][0]), 1) for way in ways}
        report["sets"][name] = {"seconds": seconds, "sites": judged(recipe, parts, logits)}
        write_json(options.out, report)
    show(report)


if __name__ == "__main__":
    main()
