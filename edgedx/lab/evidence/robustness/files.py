"""The robustness table on disk and in words: JSON, CSV, picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.files import write_json, write_text
from edgedx.core.table import csv_text
from edgedx.lab.run.plots import COLOURS, INK, new_figure, save_figure

REPORT, TABLE, PICTURE = "robustness.json", "robustness.csv", "robustness.png"
SCORES = {"energy": "energy", "mahalanobis": "Mahalanobis", "knn": "kNN"}
_BESIDE = 3


def write_robustness(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``robustness.json``, ``.csv`` and ``.png``, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in (REPORT, TABLE, PICTURE)]
    write_text(paths[1], _csv(report))
    save_figure(figure_of(report), paths[2])
    write_json(paths[0], report)
    return paths


def summary(report: Mapping[str, Any]) -> list[str]:
    """Plain sentences."""
    texts = []
    first = report["models"][0]
    for model in report["models"]:
        name, strength, lost = worst(model)
        texts.append(
            f"{model['name']}: AUC {model['clean']['auc']['value']:.3f} on clean images, {model['mean_auc']:.3f} "
            f"over all corruptions; worst {name} of strength {strength}, {lost:.3f} less"
        )
    for model in report["models"][1:]:
        gap = first["mean_auc"] - model["mean_auc"]
        texts.append(
            f"{model['name']} {'loses' if gap >= 0 else 'gains'} {abs(gap):.3f} AUC on corrupted images against "
            f"{first['name']}"
        )
    return texts


def worst(model: Mapping[str, Any]) -> tuple[str, int, float]:
    """Corruption and strength that cost most AUC, and how much."""
    clean = model["clean"]["auc"]["value"]
    drops = {
        (name, position + 1): clean - one["auc"]["value"]
        for name, several in model["corrupted"].items()
        for position, one in enumerate(several)
    }
    (name, strength), lost = max(drops.items(), key=lambda item: item[1])
    return name, strength, lost


def rows(model: Mapping[str, Any]) -> list[list[str]]:
    """A row for each corruption: AUC at each strength, their mean, and what the strongest does to ECE and coverage."""
    report = []
    for name, several in model["corrupted"].items():
        areas = [one["auc"]["value"] for one in several]
        report.append(
            [
                name,
                *(f"{area:.3f}" for area in areas),
                f"{np.mean(areas):.3f}",
                f"{several[-1]['ece']:.3f}",
                f"{least_covered(several[-1]):.2f}" if "covered" in several[-1] else "-",
                f"{several[-1]['set_size']:.2f}" if "set_size" in several[-1] else "-",
            ]
        )
    return report


HEADER = ["corruption", "1", "2", "3", "4", "5", "mean", "ECE at 5", "covered at 5", "set size at 5"]


def least_covered(figures: Mapping[str, Any]) -> float:
    """Coverage of the class that is covered least."""
    return min((share for share in figures["covered"].values() if share is not None), default=float("nan"))


def foreign_rows(model: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of how foreign sets, and images corrupted most, are told from the own."""
    scores = list(next(iter(model["foreign"].values()), next(iter(model["noticed"].values()))[0]))
    sets = {
        **model["foreign"],
        **{f"own: {name} at 3": several[2] for name, several in model["noticed"].items()},
        **{f"own: {name} at 5": several[4] for name, several in model["noticed"].items()},
    }
    header = ["AUROC / FPR95", *(SCORES[score] for score in scores)]
    return header, [
        [name, *(f"{one[score]['auroc']:.3f} / {one[score]['fpr95']:.3f}" for score in scores)]
        for name, one in sets.items()
    ]


def _csv(report: Mapping[str, Any]) -> str:
    lines = []
    for model in report["models"]:
        conditions = [("clean", 0, model["clean"])]
        conditions += [
            (name, position + 1, one)
            for name, several in model["corrupted"].items()
            for position, one in enumerate(several)
        ]  # fmt: skip
        for name, strength, one in conditions:
            lost = one.get("lost_to_first", {})
            lines.append(
                [model["name"], name, strength, *(one["auc"][key] for key in ("value", "low", "high")),
                 lost.get("value", ""), lost.get("low", ""), lost.get("high", ""), one["ece"],
                 least_covered(one) if "covered" in one else "", one.get("set_size", "")]
            )  # fmt: skip
    header = ["model", "corruption", "strength", "auc", "auc_low", "auc_high", "lost_to_first", "lost_low", "lost_high",
              "ece", "least_covered_class", "set_size"]  # fmt: skip
    return csv_text(header, lines)


def figure_of(report: Mapping[str, Any]) -> Any:
    """AUC by strength, a panel for each corruption, a line for each model with its interval."""
    names = list(report["corruptions"])
    rows_ = -(-len(names) // _BESIDE)
    figure, _ = new_figure(9, 2.6 * rows_, 0)
    least = min(one["auc"]["low"] if one["auc"]["low"] is not None else one["auc"]["value"]
                for model in report["models"]
                for several in model["corrupted"].values() for one in several)  # fmt: skip
    for position, name in enumerate(names):
        axis: Any = figure.add_subplot(rows_, _BESIDE, position + 1)
        for colour, model in zip(COLOURS, report["models"], strict=False):
            several = [model["clean"], *model["corrupted"][name]]
            values = [one["auc"]["value"] for one in several]
            ends = [(one["auc"]["low"] or value, one["auc"]["high"] or value)
                    for one, value in zip(several, values, strict=True)]  # fmt: skip
            axis.plot(range(len(values)), values, color=colour, marker="o", markersize=3, label=model["name"])
            axis.fill_between(range(len(values)), [low for low, _ in ends], [high for _, high in ends], color=colour,
                              alpha=0.12, linewidth=0)  # fmt: skip
        kind = report["corruptions"][name]
        axis.set_xticks(range(6), ["none", *(f"{value:g}" for value in kind["strengths"])])
        axis.set_ylim(max(0.0, least - 0.03), 1.005)
        axis.set_title(name, fontsize=9, color=INK)
        axis.set_xlabel(kind["unit"], fontsize=7)
        axis.tick_params(colors=INK, labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        if position % _BESIDE == 0:
            axis.set_ylabel("AUC", fontsize=8)
        if position == 0:
            axis.legend(frameon=False, fontsize=7, loc="lower left")
    return figure
