"""An evaluation on disk: figures, predictions and what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedx.core.files import write_json, write_text
from edgedx.core.stats.cases import Cases, Predictions
from edgedx.core.stats.patients import patient_text
from edgedx.core.table import csv_text, plain_cell

from .evaluation import Evaluation

REPORT, PREDICTIONS, LEFT_OUT = "evaluation.json", "predictions.csv", "excluded.csv"


def predictions_csv(cases: Cases, answers: Predictions) -> str:
    """A row for each image: ``image,patient_id,truth``, a probability for each class, ``decision``.

    It is what ``edgedx gate --teacher`` and ``edgedx compare`` read. Probabilities are written in full (the shortest
    text that reads back as the same float64): rounded ones would tie, and the AUC of the table would not be that of
    the report beside it. Unknown findings of a multilabel task are named with a question mark.
    """
    rows = []
    for index, name in enumerate(cases.names):
        truth = cases.truth(index)
        if cases.task == "multilabel":
            unknown = [
                f"{one}?" for one, value in zip(cases.classes, cases.labels[index], strict=True) if np.isnan(value)
            ]
            truth = "|".join([*([] if unknown and truth == "none" else [truth]), *unknown])
        patient = cases.patients[index]
        rows.append(
            [
                plain_cell(name),
                plain_cell(patient_text(patient)),
                truth,
                *(repr(float(value)) for value in answers.probabilities[index]),
                answers.decisions[index],
            ]
        )
    return csv_text(["image", "patient_id", "truth", *cases.classes, "decision"], rows)


def write_evaluation(evaluation: Evaluation, folder: Path, predictions: Path | None = None) -> list[Path]:
    """Write ``evaluation.json``, tables and pictures, and return their paths."""
    from .evaluation_plots import draw_evaluation

    written = [folder / REPORT, predictions or folder / PREDICTIONS]
    write_text(written[1], predictions_csv(evaluation.asked.cases, evaluation.answers))
    left_out = folder / LEFT_OUT
    if evaluation.asked.left_out:
        rows = [[plain_cell(name), reason] for name, reason in evaluation.asked.left_out]
        write_text(left_out, csv_text(["image", "reason"], rows))
        written.append(left_out)
    else:
        left_out.unlink(missing_ok=True)
    written += draw_evaluation(evaluation, folder)
    write_json(folder / REPORT, evaluation.to_dict())
    return written
