"""What other commands found about a run, for its report: cross-validation, tests, robustness, explanations, latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import read_json
from edgedx.core.stats.metrics import Interval

from .words import Cell, Table

_SHOWN = {
    "auc_roc": "AUC-ROC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_sensitivity": "Sensitivity, macro",
    "macro_specificity": "Specificity, macro",
    "ece": "Calibration error (ECE)",
}
_FEW = 12
"""Rows of a table that a reader takes in."""


@dataclass(frozen=True)
class Extra:
    """One section.

    Attributes
    ----------
    key : str
        In the JSON twin.
    tables : list of (str, Table)
        Under a heading each; an empty one is the section's own.
    pictures : list of (Path, str)
        PNG and caption; of patients only where those are asked for.
    """

    key: str
    title: str
    told: dict[str, Any]
    texts: list[str] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)
    pictures: list[tuple[Path, str]] = field(default_factory=list)
    patients: list[tuple[Path, str]] = field(default_factory=list)


def find_extras(run: Path, named: Sequence[Path] = ()) -> list[Extra]:
    """Sections of what lies in a run or beside it under the names that commands give, and of `named` folders.

    Raises
    ------
    UsageError
        A named folder holds nothing of the kind.
    """
    beside = [run / name for name in ("comparison", "robustness", "explain", "bench")]
    beside = [run.with_name(f"{run.name}-crossval"), *beside, run.with_name(f"{run.name}-tune")]
    found: dict[str, Extra] = {}
    for folder in (*beside, *named):
        own = list(_read(folder))
        if not own and folder in named:
            raise UsageError(
                f"{folder} holds nothing for a report",
                next_step=f"name a folder with one of {', '.join(_KINDS)}",
            )
        found |= {one.key: one for one in own}  # what was named comes last, and counts
    return [found[key] for key in _ORDER if key in found]


def _read(folder: Path) -> Iterator[Extra]:
    for name, make in _KINDS.items():
        if (folder / name).is_file():
            told = read_json(folder / name)
            try:
                yield make(told, folder)
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise InputOutputError(
                    f"{folder / name} is not what this edgedx writes ({type(error).__name__})",
                    next_step="make it again, or move it away",
                ) from error


def _crossval(told: dict[str, Any], folder: Path) -> Extra:
    subjects = told["subjects"]
    names = list(subjects)
    rows: list[list[Cell]] = [
        [word, *(f"{subjects[name]['mean'][key]:.3f} ± {subjects[name]['sd'][key]:.3f}" for name in names)]
        for key, word in _SHOWN.items()
    ]
    text = (
        f"{told['folds']} folds by {told['grouped_by']}: each image was judged once, by a model that had not seen its "
        f"{told['grouped_by']}. Mean and standard deviation over folds."
    )
    return Extra("crossval", "Cross-validation", told, [text], [("", Table(["", *names], rows))])


def _comparison(told: dict[str, Any], folder: Path) -> Extra:
    rows: list[list[Cell]] = [
        [name, _interval(one["auc"]), _interval(one["accuracy"])] for name, one in told["subjects"].items()
    ]
    rows.sort(key=lambda row: -row[1].value if isinstance(row[1], Interval) else 0.0)
    texts = [f"On {told['images']} images ({told['data']}); p-values after Holm.", *told["sentences"][:_FEW]]
    return Extra(
        "comparison",
        "Against other models",
        told,
        [*texts, *told["notes"]],
        [("", Table(["", "AUC", "Accuracy"], rows))],
    )


def _robustness(told: dict[str, Any], folder: Path) -> Extra:
    from edgedx.lab.evidence.robustness.files import PICTURE, foreign_rows, least_covered, summary

    models = told["models"]
    names = [model["name"] for model in models]
    rows: list[list[Cell]] = [["none", *(_interval(model["clean"]["auc"]) for model in models)]]
    for name in told["corruptions"]:
        rows.append([f"{name}, mean of 5", *(f"{_mean(model, name):.3f}" for model in models)])
        rows.append([f"{name}, strongest", *(_interval(model["corrupted"][name][-1]["auc"]) for model in models)])
    tables = [("AUC on worse images", Table(["corruption", *names], rows))]
    covered = [model for model in models if "covered" in model["clean"]]
    if covered:
        classes = list(covered[0]["clean"]["covered"])
        cells: list[list[Cell]] = [
            [name, *(_share(model["clean"]["covered"][name]) for model in covered)] for name in classes
        ]
        cells.append(["classes in a set, mean", *(f"{model['clean']['set_size']:.2f}" for model in covered)])
        worst = [min(least_covered(one[-1]) for one in model["corrupted"].values()) for model in covered]
        cells.append(["least covered, strongest corruption", *(f"{share:.2f}" for share in worst)])
        promised = f"Coverage of conformal sets, promised {told['coverage_promised']:.0%}"
        tables.append((promised, Table(["class", *(model["name"] for model in covered)], cells)))
    for model in models:
        header, lines = foreign_rows(model)
        tables.append(
            (f"Told from its own images, {model['name']} (AUROC / FPR95)", Table(header, [*map(list, lines)]))
        )
    pictures = [(folder / PICTURE, "AUC by strength of corruption, with 95 % intervals")]
    return Extra("robustness", "Worse and foreign images", told, summary(told), tables, pictures)


def _explain(told: dict[str, Any], folder: Path) -> Extra:
    rows: list[list[Cell]] = [
        [f"{one['model']}, {one['method']}", _interval(one["spearman"]), _interval(one["shared"])]
        for one in told["fidelity"]
    ]
    reference = told["reference"]
    tables = [(f"Maps against those of {reference}", Table(["", "Rank correlation", "Top 10 % shared"], rows))]
    sanity = [one["sentence"] for one in told.get("sanity", [])]
    kept = [(folder / one["file"], one["caption"], one["kind"]) for one in told["pictures"]]
    return Extra(
        "explain",
        "Where the models look",
        told,
        list(dict.fromkeys([*told["sentences"], *sanity, *told["notes"]])),
        tables if rows else [],
        [(path, caption) for path, caption, kind in kept if kind != "image"],
        [(path, caption) for path, caption, kind in kept if kind == "image"],
    )


def _bench(told: dict[str, Any], folder: Path) -> Extra:
    rows: list[list[Cell]] = []
    for one in told["rows"]:
        times = one.get("inference")
        auc = one.get("auc")
        rows.append(
            [
                str(one["name"]),
                f"{times['p50_ms']:.2f} / {times['p90_ms']:.2f}" if times else "not measured",
                f"{one['megabytes']:.2f} MB" if one.get("megabytes") else "-",
                _interval(auc) if auc else "-",
            ]
        )
    table = Table(["model", "ms, P50 / P90", "file", "AUC"], rows)
    return Extra("bench", "Latency", told, [f"Inference alone, measured on {told['machine']}."], [("", table)])


def _tune(told: dict[str, Any], folder: Path) -> Extra:
    counts, best, own = told["trials"], told["best"], told["as_it_stands"]
    texts = [f"{counts['ended']} trials ended, {counts['pruned']} were pruned; judged by AUC on val, never on test."]
    if best is not None:
        texts.append(
            f"The best reached {best['val_auc']:.4f}"
            + (f", the recipe as it stood {own['val_auc']:.4f}" if own else "")
            + ". The best of many is optimistic on val."
        )
    rows: list[list[Cell]] = [
        [key, f"{value:.4g}" if isinstance(value, float) else str(value), _share(told["importance"].get(key))]
        for key, value in (best["values"] if best else {}).items()
    ]
    table = Table(["key", "best value", "importance"], rows)
    pictures = [(folder / "tune.png", "AUC on val by trial")] if best else []
    return Extra("tune", "Search of hyper-parameters", told, texts, [("", table)] if rows else [], pictures)


def _interval(one: dict[str, float | None] | None) -> Interval:
    nan = float("nan")
    values = [nan if one is None or one[key] is None else float(one[key] or 0) for key in ("value", "low", "high")]
    return Interval(*values)


def _mean(model: dict[str, Any], name: str) -> float:
    several = [float(one["auc"]["value"]) for one in model["corrupted"][name]]
    return sum(several) / len(several)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


_KINDS: dict[str, Callable[[dict[str, Any], Path], Extra]] = {
    "crossval.json": _crossval,
    "comparison.json": _comparison,
    "robustness.json": _robustness,
    "explain.json": _explain,
    "bench.json": _bench,
    "tune.json": _tune,
}
_ORDER = [name.partition(".")[0] for name in _KINDS]
