"""The pictures of one evaluation, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedx.core.heatmap import evidence, heat_of, is_coarse
from edgedx.core.preprocess import Canvas

from .curve_plots import calibration_figure, confusion_figure, pr_figure, roc_figure, save, subgroup_figure
from .gallery import Overlay, gallery

if TYPE_CHECKING:
    from .evaluation import Evaluation

NAMES = ("roc.png", "pr.png", "calibration.png", "confusion.png", "subgroups.png", "misclassified.png")


def draw_evaluation(evaluation: Evaluation, folder: Path, overlay: Overlay | None = None) -> list[Path]:
    """Write the pictures into `folder` and return their paths; those of an older evaluation go."""
    from .evaluation import wrong_first

    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    cases, answers, figures = evaluation.asked.cases, evaluation.answers, evaluation.figures
    names = [cases.classes[index] for index, _, _ in cases.findings()]
    areas = {kind: [figures.classes[name][kind] for name in names] for kind in ("auc_roc", "auc_pr")}
    models = {evaluation.subject.name: answers}
    written = [
        save(roc_figure(cases, models, areas["auc_roc"]), folder / "roc.png"),
        save(pr_figure(cases, models, areas["auc_pr"]), folder / "pr.png"),
        save(calibration_figure(cases, models), folder / "calibration.png"),
        save(confusion_figure(figures.confusion), folder / "confusion.png"),
    ]
    if evaluation.parts.subgroups:
        written.append(
            save(subgroup_figure({evaluation.subject.name: evaluation.parts.subgroups}), folder / "subgroups.png")
        )
    if wrong := wrong_first(cases, answers):
        bits = evaluation.subject.preprocess.bits
        path = folder / "misclassified.png"
        note = ""
        if overlay is None:
            overlay, note = _maps(evaluation, wrong[0])
        written.append(
            gallery(cases, answers, wrong, evaluation.asked.canvas_of, path, bits=bits, overlay=overlay, note=note)
        )
    return written


def _maps(evaluation: Evaluation, first: int) -> tuple[Overlay | None, str]:
    """Where the model looked when it decided, for graphs that say so; and a line about it."""
    subject, cases, answers = evaluation.subject, evaluation.asked.cases, evaluation.answers
    example = subject.infer(evaluation.asked.canvas_of(first)[None], cam=True).cam
    if example is None:
        return None, ""
    height, width = example.shape[2:]
    if is_coarse((height, width)):
        return None, f"No heat maps: the network's have {height} x {width} places, too coarse to point at anything."

    def heat(row: int, canvas: Canvas) -> np.ndarray:
        cams = subject.infer(canvas[None], cam=True).cam
        assert cams is not None
        decided = [name for name in cases.classes if name in answers.decisions[row].split("|")] or cases.classes
        name = max(decided, key=lambda one: answers.probabilities[row][cases.classes.index(one)])
        return heat_of(evidence(cams[0], cases.classes.index(name), cases.task), canvas.shape[:2])

    return heat, "Colours show where the prediction comes from, not how sure it is; not for diagnosis."
