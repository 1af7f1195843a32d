"""Maps in the gallery of wrong decisions: of graphs that have them, of the class that was decided for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from made_run import VARIANTS, write_run

from edgedx.core.preprocess import normalise
from edgedx.lab.judge.evaluation import evaluate, wrong_first
from edgedx.lab.judge.evaluation_plots import _maps, draw_evaluation
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.quantize.cam import add_cam


def test_the_gallery_shows_where_a_graph_with_maps_looked(tmp_path: Path) -> None:
    recipe = write_run(tmp_path)
    path = tmp_path / VARIANTS / "fp32.onnx"
    plain = evaluate(open_subject(path), resamples=20)
    first = wrong_first(plain.asked.cases, plain.answers)[0]
    assert _maps(plain, first) == (None, "")
    draw_evaluation(plain, tmp_path / "plain")
    batch = normalise(np.stack([plain.asked.canvas_of(row) for row in range(8)]), recipe.preprocess)
    path.write_bytes(add_cam(path.read_bytes(), batch))
    shown = evaluate(open_subject(path), resamples=20)
    assert np.array_equal(shown.answers.probabilities, plain.answers.probabilities)
    overlay, note = _maps(shown, first)
    assert overlay is not None and "not for diagnosis" in note
    canvas = shown.asked.canvas_of(first)
    heat = overlay(first, canvas)
    assert heat.shape == canvas.shape[:2] and heat.min() >= 0.0 and heat.max() == 1.0
    # The network of one weight sees brightness alone: its map is the image, or the image turned to its negative.
    sign = 1 if shown.answers.decisions[first] == "bright" else -1
    assert sign * np.corrcoef(heat.ravel(), canvas.ravel())[0, 1] > 0.5
    draw_evaluation(shown, tmp_path / "shown")
    before, after = (cv2.imread(str(tmp_path / name / "misclassified.png")) for name in ("plain", "shown"))
    assert np.ptp(before.astype(int), axis=2).mean() < np.ptp(after.astype(int), axis=2).mean()  # it has colours now
