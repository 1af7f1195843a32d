"""A picture of the images that were decided wrongly, worst first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgedx.core.heatmap import OPACITY
from edgedx.core.preprocess import Canvas
from edgedx.core.stats.cases import Answers, Cases
from edgedx.lab.run.plots import COLOURS, INK, new_figure, save_figure

Overlay = Callable[[int, Canvas], np.ndarray]
"""Image number and canvas to heat, (H, W) from 0 to 1: what `edgedx explain` lays over the pictures."""
MOST, _ACROSS = 24, 6


def gallery(
    cases: Cases,
    answers: Answers,
    rows: Sequence[int],
    canvas_of: Callable[[int], Canvas],
    path: Path,
    *,
    bits: int,
    overlay: Overlay | None = None,
) -> Path:
    """Write a PNG of the images `rows`, at most `MOST` of them, with truth, decision and what was given to both.

    Images carry the number of their row in predictions.csv and not their names, which may hold a patient's.
    """
    shown = list(rows[:MOST])
    down = -(-len(shown) // _ACROSS)
    across = min(_ACROSS, max(len(shown), 3))
    figure, axes = new_figure(1.75 * across, 2.12 * down + 0.4)
    for axis in axes:
        axis.remove()
    for place, row in enumerate(shown):
        axis = figure.add_subplot(down, across, place + 1)
        picture = canvas_of(row).astype(np.float32) / ((1 << bits) - 1)
        axis.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
        if overlay is not None:
            heat = overlay(row, canvas_of(row))
            axis.imshow(heat, cmap="inferno", alpha=OPACITY * heat, vmin=0, vmax=1)
        axis.set_axis_off()
        axis.set_title(_told(cases, answers, row), fontsize=6.5, color=INK, loc="left", pad=3)
    more = f" of {len(rows)}" if len(rows) > len(shown) else ""
    note = f"Decided wrongly, worst first: {len(shown)}{more}. Numbers are rows of predictions.csv."
    figure.suptitle(note, fontsize=8.5, color=COLOURS[1], x=0.01, ha="left")
    save_figure(figure, path)
    return path


def shots(
    cases: Cases, answers: Answers, rows: Sequence[int], canvas_of: Callable[[int], Canvas], side: int = 192
) -> list[tuple[bytes, str]]:
    """The same images one by one, as PNG of at most `side` pixels and 8 bits, with their captions."""
    import cv2

    found = []
    for row in rows[:MOST]:
        picture = np.asarray(canvas_of(row))
        picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
        picture = picture if picture.ndim == 2 else picture[..., ::-1]
        scale = side / max(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found.append((cv2.imencode(".png", picture)[1].tobytes(), _told(cases, answers, row)))
    return found


def _told(cases: Cases, answers: Answers, row: int) -> str:
    if cases.task == "multilabel":
        lines = [f"{name} {chance:.2f}" for name, chance in _wrong_findings(cases, answers, row)[:2]]
        return "\n".join([f"no. {row + 1}: is {_cut(cases.truth(row))}", *lines])
    chances = dict(zip(cases.classes, answers.chances[row], strict=True))
    truth, decision = cases.truth(row), answers.decisions[row]
    return f"no. {row + 1}\nis {_cut(truth)} ({chances[truth]:.2f})\nsaid {_cut(decision)} ({chances[decision]:.2f})"


def _wrong_findings(cases: Cases, answers: Answers, row: int) -> list[tuple[str, float]]:
    said = set(answers.decisions[row].split("|"))
    found = [
        (("said " if name in said else "missed ") + _cut(name), float(chance))
        for name, chance, value in zip(cases.classes, answers.chances[row], cases.labels[row], strict=True)
        if not np.isnan(value) and (name in said) != (value == 1)
    ]
    return sorted(found, key=lambda one: -one[1] if one[0].startswith("said") else one[1] - 1)


def _cut(text: str, most: int = 16) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
