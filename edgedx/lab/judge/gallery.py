"""A picture of the images that were decided wrongly, worst first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgedx.core.heatmap import OPACITY
from edgedx.core.preprocess import Canvas
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.lab.run.plots import COLOURS, INK, new_figure, save_figure

Overlay = Callable[[int, Canvas], np.ndarray]
"""Image number and canvas to heat, (H, W) from 0 to 1: what `edgedx explain` lays over the pictures."""
MOST, _ACROSS = 24, 6


def gallery(
    cases: Cases,
    answers: Predictions,
    rows: Sequence[int],
    canvas_of: Callable[[int], Canvas],
    path: Path,
    *,
    bits: int,
    overlay: Overlay | None = None,
    note: str = "",
    title: str = "Decided wrongly, worst first",
    table: str = "predictions.csv",
    words: tuple[str, str] = ("truth", "predicted"),
) -> Path:
    """Write a PNG of the images `rows`, at most `MOST` of them, with truth, prediction, probability and threshold.

    Parameters
    ----------
    note : str
        A second line below the title: what colours are, or why there are none.
    title, table : str
        What the images are, and where they are listed.
    words : (str, str)
        What label and answer are called.

    Notes
    -----
    Images carry the number of their row in predictions.csv and not their names, which may hold a patient's.
    """
    shown = list(rows[:MOST])
    down = -(-len(shown) // _ACROSS)
    across = min(_ACROSS, max(len(shown), 3))
    figure, axes = new_figure(1.85 * across, 2.3 * down + 0.55)
    for axis in axes:
        axis.remove()
    for position, row in enumerate(shown):
        axis = figure.add_subplot(down, across, position + 1)
        picture = canvas_of(row).astype(np.float32) / ((1 << bits) - 1)
        axis.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
        if overlay is not None:
            heat = overlay(row, canvas_of(row))
            axis.imshow(heat, cmap="inferno", alpha=OPACITY * heat, vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
        axis.set_title(_caption(cases, answers, row, words), fontsize=6.5, color=INK, loc="left", pad=3)
    more = f" of {len(rows)}" if len(rows) > len(shown) else ""
    headline = f"{title}: {len(shown)}{more}. Numbers are rows of {table}."
    figure.suptitle("\n".join([headline, *([note] if note else [])]), fontsize=8.5, color=COLOURS[1], x=0.01, ha="left")
    save_figure(figure, path)
    return path


def shots(
    cases: Cases, answers: Predictions, rows: Sequence[int], canvas_of: Callable[[int], Canvas], side: int = 192
) -> list[tuple[bytes, str]]:
    """The same images one by one, as PNG of at most `side` pixels and 8 bits, with their captions."""
    import cv2

    captions = []
    for row in rows[:MOST]:
        picture = np.asarray(canvas_of(row))
        picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
        picture = picture if picture.ndim == 2 else picture[..., ::-1]
        scale = side / max(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        captions.append((cv2.imencode(".png", picture)[1].tobytes(), _caption(cases, answers, row)))
    return captions


def _caption(cases: Cases, answers: Predictions, row: int, words: tuple[str, str] = ("truth", "predicted")) -> str:
    """Truth, prediction, probability and threshold, a line each."""
    number = f"no. {row + 1}"
    if cases.task == "multilabel":
        return "\n".join([number, *_wrong_findings(cases, answers, row)[:2]])
    truth, decision = cases.truth(row), answers.decisions[row]
    if cases.positive is None:
        probabilities = dict(zip(cases.classes, answers.probabilities[row], strict=True))
        shown = [f"{_cut(name)}: p = {probabilities[name]:.2f}" for name in (decision, truth) if name in probabilities]
        return "\n".join([number, f"{words[0]}: {_cut(truth)}", f"{words[1]}: {_cut(decision)}", *shown])
    chance = answers.probabilities[row][list(cases.classes).index(cases.positive)]
    return "\n".join(
        [
            number,
            f"{words[0]}: {_cut(truth)}",
            f"{words[1]}: {_cut(decision)}",
            f"p({_cut(cases.positive, 10)}) = {chance:.2f}{_limit(answers, cases.positive)}",
        ]
    )


def _limit(answers: Predictions, name: str) -> str:
    return f" (threshold {answers.thresholds[name]:.2f})" if name in answers.thresholds else ""


def _wrong_findings(cases: Cases, answers: Predictions, row: int) -> list[str]:
    """Findings decided wrongly, worst first: ``missed effusion: p = 0.10 (threshold 0.30)``."""
    called = set(answers.decisions[row].split("|"))
    wrong = []
    for name, chance, value in zip(cases.classes, answers.probabilities[row], cases.labels[row], strict=True):
        if not np.isnan(value) and (name in called) != (value == 1):
            word = "false" if name in called else "missed"
            blame = chance if name in called else 1 - chance
            wrong.append((-blame, f"{word} {_cut(name)}: p = {chance:.2f}{_limit(answers, name)}"))
    return [text for _, text in sorted(wrong)]


def _cut(text: str, most: int = 16) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
