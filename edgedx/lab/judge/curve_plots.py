"""ROC, precision-recall and calibration curves, confusion matrices and subgroups, as matplotlib figures.

Each figure is one panel about as wide as a phone, so that a page can set them side by side or one below the other.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.metrics import Interval, roc_points
from edgedx.lab.run.plots import COLOURS, INK, new_figure, save_figure

from .disparity import Subgroup

_BINS = 10
_SIZE = (4.6, 4.0)
_MOST = 6
"""Findings drawn in one figure; with more, lines can no longer be told apart."""


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG."""
    save_figure(figure, path)
    return path


def _lines(cases: Cases, models: Mapping[str, Predictions]) -> list[tuple[str, Any, np.ndarray, np.ndarray]]:
    """(label, style, truth, score): several models differ by colour, several findings of one model too."""
    curves = []
    findings = cases.findings()
    if len(models) > 1 and len(findings) > 1:  # models by colour, findings by dash
        dashes = ["-", "--", ":", "-."]
        for row, (name, answers) in enumerate(models.items()):
            for position, (index, known, present) in enumerate(findings[:4]):
                style = {"color": COLOURS[row % len(COLOURS)], "linestyle": dashes[position % 4]}
                curves.append((f"{name}, {cases.classes[index]}", style, present[known], answers.scores[known, index]))
        return curves
    for row, (name, answers) in enumerate(models.items()):
        for position, (index, known, present) in enumerate(findings[:_MOST]):
            label = name if len(models) > 1 else cases.classes[index]
            style = {"color": COLOURS[(row if len(models) > 1 else position) % len(COLOURS)]}
            curves.append((label, style, present[known], answers.scores[known, index]))
    return curves


def _title(text: str, cases: Cases) -> str:
    """With more findings than can be told apart the picture says that it shows some of them."""
    many = len(cases.findings())
    return f"{text}, {_MOST} of {many} findings" if many > _MOST else text


def _unit_axis(axis: Any) -> None:
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.set_aspect("equal")


def _legend(axis: Any, position: str, entries: int) -> None:
    axis.legend(fontsize=6.5 if entries > 4 else 7.5, loc=position, frameon=True, framealpha=0.9, edgecolor="none")


def roc_figure(cases: Cases, models: Mapping[str, Predictions], areas: Sequence[Interval] | None = None) -> Any:
    """ROC curves; the operating point of each is marked."""
    from .figures import called_matrix

    figure, (axis,) = new_figure(*_SIZE)
    axis.plot([0, 1], [0, 1], color="#a9b4bd", linewidth=0.8, linestyle=":")
    lines = _lines(cases, models)
    for position, (label, style, truth, score) in enumerate(lines):
        if truth.all() or not truth.any():
            continue
        _, sensitivity, specificity = roc_points(truth, score)
        text = f"{label}: {areas[position]}" if areas is not None else label
        axis.plot(np.r_[0, 1 - specificity, 1], np.r_[0, sensitivity, 1], linewidth=1.6, label=text, **style)
    marks = []
    for row, answers in enumerate(models.values()):
        called = called_matrix(cases, answers.decisions)
        for position, (index, known, present) in enumerate(cases.findings()[:_MOST]):
            sick, well = known & present, known & ~present
            if sick.any() and well.any():
                colour = COLOURS[(row if len(models) > 1 else position) % len(COLOURS)]
                marks.append((called[well, index].mean(), called[sick, index].mean(), colour))
    for position, (alarm, hit, colour) in enumerate(marks):
        label = "operating point" if position == len(marks) - 1 else None
        axis.scatter(alarm, hit, s=34, facecolor="white", edgecolor=colour, linewidth=1.6, zorder=4, label=label)
    axis.set(xlabel="1 - specificity (false alarms)", ylabel="sensitivity (found)", title=_title("ROC", cases))
    _unit_axis(axis)
    _legend(axis, "lower right", len(lines))
    return figure


def pr_figure(cases: Cases, models: Mapping[str, Predictions], areas: Sequence[Interval] | None = None) -> Any:
    """Precision-recall curves; a dotted line at the prevalence is what guessing reaches."""
    figure, (axis,) = new_figure(*_SIZE)
    lines = _lines(cases, models)
    levels = set()
    for position, (label, style, truth, score) in enumerate(lines):
        if not truth.any():
            continue
        order = np.argsort(-score, kind="stable")
        last = np.r_[np.flatnonzero(np.diff(score[order])), order.size - 1]
        hits = np.cumsum(truth[order])[last]
        recall, precision = hits / truth.sum(), hits / (1 + last)
        text = f"{label}: {areas[position]}" if areas is not None else label
        axis.step(np.r_[0, recall], np.r_[precision[0], precision], where="pre", linewidth=1.6, label=text, **style)
        if (level := float(truth.mean())) not in levels:
            axis.axhline(level, color=style["color"] if len(models) == 1 else "#a9b4bd", linewidth=0.8, linestyle=":")
            levels.add(level)
    axis.set(
        xlabel="recall = sensitivity",
        ylabel="precision (alarms that are right)",
        title=_title("Precision and recall", cases),
    )
    _unit_axis(axis)
    _legend(axis, "lower left", len(lines))
    return figure


def calibration_figure(cases: Cases, models: Mapping[str, Predictions]) -> Any:
    """What was found among images that were given a probability, in ten groups of equal size, with 95 % intervals."""
    figure, (axis,) = new_figure(*_SIZE)
    axis.plot([0, 1], [0, 1], color="#a9b4bd", linewidth=0.8, linestyle=":")
    entries = 0
    for row, (name, answers) in enumerate(models.items()):
        for position, (index, known, present) in enumerate(cases.findings()[: _MOST if len(models) == 1 else 3]):
            chance, truth = answers.probabilities[known, index], present[known]
            if not chance.size:
                continue
            groups = [part for part in np.array_split(np.argsort(chance, kind="stable"), _BINS) if part.size]
            given = np.array([chance[part].mean() for part in groups])
            seen = np.array([truth[part].mean() for part in groups])
            shares = [wilson(float(truth[part].mean()), part.size) for part in groups]
            ends = np.array([(one.low, one.high) for one in shares])
            colour = COLOURS[(row if len(models) > 1 else position) % len(COLOURS)]
            label = name if len(models) > 1 else cases.classes[index]
            if len(models) > 1 and len(cases.findings()) > 1:
                label = f"{name}, {cases.classes[index]}"
            style = {"linestyle": ("-", "--", ":")[position]} if len(models) > 1 else {}
            axis.errorbar(
                given,
                seen,
                np.clip([seen - ends[:, 0], ends[:, 1] - seen], 0, None),
                color=colour,
                label=label,
                marker="o",
                markersize=3.5,
                linewidth=1.2,
                elinewidth=0.7,
                capsize=2,
                **style,
            )
            entries += 1
    axis.set(xlabel="probability given", ylabel="share that had it", title=_title("Calibration", cases))
    _unit_axis(axis)
    _legend(axis, "best", entries)
    return figure


def confusion_figure(confusion: Mapping[str, Any], title: str = "Decisions") -> Any:
    """Confusion matrix; of a multilabel task the four counts of each finding, one row each."""
    if "findings" in confusion:
        names = list(confusion["findings"])
        table = np.array([np.ravel(confusion["findings"][name])[[3, 2, 1, 0]] for name in names])
        columns, across = ["found", "missed", "false\nalarm", "cleared"], "decision"
    else:
        names, table, across = list(confusion["labels"]), np.array(confusion["counts"]), "decided"
        columns = names
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, (axis,) = new_figure(_SIZE[0], max(2.6, min(9.0, 1.5 + 0.55 * len(names))) if len(names) > 2 else 3.2)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.grid(visible=False)
    size = 9 if len(columns) <= 5 else 6.5
    for row in range(len(names)):
        for column in range(len(columns)):
            colour = "white" if shares[row, column] > 0.55 else INK
            axis.text(
                column,
                row,
                f"{table[row, column]}\n{shares[row, column]:.0%}",
                ha="center",
                va="center",
                fontsize=size,
                color=colour,
            )
    axis.set_xticks(range(len(columns)), [_short(name) for name in columns], fontsize=size - 1)
    axis.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=size - 1)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set(xlabel=across, ylabel="finding" if "findings" in confusion else "truth", title=title)
    return figure


def _short(name: str) -> str:
    return "\n".join(textwrap.wrap(name.replace("_", " "), 14)) or name


def subgroup_figure(models: Mapping[str, Sequence[Subgroup]], kind: str = "auc_roc") -> Any:
    """A figure of every subgroup, with its interval; several models side by side."""
    first = next(iter(models.values()))
    figure, (axis,) = new_figure(_SIZE[0], max(2.2, 1.2 + 0.26 * len(first) * max(1, 0.6 * len(models))))
    for row, (name, parts) in enumerate(models.items()):
        shift = (row - (len(models) - 1) / 2) * 0.22
        for position, part in enumerate(parts):
            value = part.figures[kind]
            if np.isnan(value.value):
                continue
            axis.errorbar(
                value.value,
                position + shift,
                xerr=np.clip([[value.value - value.low], [value.high - value.value]], 0, None),
                color=COLOURS[row],
                marker="o",
                markersize=4,
                capsize=2,
                linewidth=1.2,
                label=name if position == 0 and len(models) > 1 else None,
            )
    axis.set_yticks(range(len(first)), [f"{part.name} ({part.images})" for part in first], fontsize=7.5)
    axis.invert_yaxis()
    word = {"auc_roc": "AUC"}.get(kind, kind)
    axis.set(xlabel=f"{word}, 95 % interval", title="By subgroup (images)")
    if len(models) > 1:
        figure.legend(fontsize=7.5, frameon=False, loc="outside lower center", ncols=len(models))
    return figure
