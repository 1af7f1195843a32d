"""``edgedx evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedx.cli.common import check_choice, torch_device
from edgedx.cli.options import SPLITS, AsJson, OfDevice, On, Resamples, Run, Split, Threads
from edgedx.cli.stopping import NOTHING, at_work

from . import show

if TYPE_CHECKING:
    from edgedx.lab.judge.subject import Subject


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoint folder (runs/x/teacher), .onnx model of a run, or .edgedx bundle; more with --ensemble."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Labelled images: a folder per class, or a CSV (image,label,patient_id,...).")
    ] = None,
    split: Split = "test",
    run: Run = None,
    device: OfDevice = None,
    point: Annotated[
        str | None,
        typer.Option(
            help="Operating point (threshold) to decide at, e.g. sensitivity-0.95; the model's first if none."
        ),
    ] = None,
    subgroup: Annotated[
        list[str] | None, typer.Option(help="Column to judge by; repeatable; all unless given.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Model of a bundle, e.g. fp32; the one that is used unless given.")
    ] = None,
    ensemble: Annotated[
        str | None, typer.Option(help="mean: judge the mean of the models' probabilities, beside each of them.")
    ] = None,
    resamples: Resamples = 1000,
    threads: Threads = 0,
    on: On = "auto",
    predictions: Annotated[
        Path | None, typer.Option(help="Where to put the predictions (CSV) instead of OUT/predictions.csv.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for all that is written; RUN/evaluation-NAME unless given.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Judge any model on labelled images: all figures with intervals, curves, subgroups, and what it got wrong.

    Example: edgedx evaluate runs/pneumonia-mnist/student --split test

    Example: edgedx evaluate runs/seed-0/teacher runs/seed-1/teacher runs/seed-2/teacher --ensemble mean

    Intervals are 95 % bootstrap over patients where there are patients, else over images. Operating points are
    thresholds that were chosen on the validation images: youden (sensitivity + specificity is greatest), argmax (the
    most probable class), sensitivity-0.95 and the like. In a table, every column besides image, label and patient_id is
    a subgroup, and one that the model takes beside the image (a recipe's section columns) is given to it; multilabel
    tables may have a column of 0, 1 or empty (not known) for each class instead of label. Images that cannot be read or
    are refused are counted and listed.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.judge.evaluation import evaluate as judge
    from edgedx.lab.judge.evaluation_files import write_evaluation
    from edgedx.lab.judge.subject import open_subject

    check_choice("--split", split, SPLITS)
    on = torch_device(on)
    check_choice("--ensemble", ensemble, ("mean",))
    if len(models) > 1 and ensemble is None:
        raise UsageError(
            "several models",
            next_step="--ensemble mean judges them as one; `edgedx compare` sets them side by side",
        )
    opened = [
        open_subject(model, run=run, variant=variant, profile=device, threads=threads, device=on) for model in models
    ]
    subject = opened[0]
    if ensemble is not None:
        from edgedx.lab.judge.ensemble import mean_of

        subject = mean_of(opened)
    with at_work(subject.run.path if subject.run else None, NOTHING):
        evaluation = judge(subject, data=data, split=split, point=point, subgroups=subgroup, resamples=resamples)
        members = [judge(one, data=data, split=split, resamples=resamples) for one in opened] if ensemble else []
        folder = out or _folder(subject, evaluation.asked.where)
        written = write_evaluation(evaluation, folder, predictions)
        show.evaluated(evaluation, members, folder, written, predictions, json=json)


def _folder(subject: Subject, where: str) -> Path:
    from edgedx.core.files import safe_name

    return (subject.run.path if subject.run else Path()) / safe_name(f"evaluation-{subject.name}-{where}")
