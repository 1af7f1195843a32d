"""edgedx evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json, synthetic_note

if TYPE_CHECKING:
    from edgedx.lab.judge.evaluation import Evaluation
    from edgedx.lab.judge.subject import Subject

_COLUMNS = 4
"""Classes that fit beside one another on a terminal."""


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoint folder (runs/x/teacher), .onnx variant of a run, or .edgedx bundle; more with --ensemble."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Labelled images: a folder per class, or a CSV (image,label,patient_id,...).")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the run's data set, without --data: test, val or train.")] = "test",
    run: Annotated[
        Path | None, typer.Option(help="Run whose data set to use, for a bundle that lies elsewhere.")
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(help="Operating point to decide at, e.g. youden or argmax; the model's first unless given."),
    ] = None,
    subgroup: Annotated[
        list[str] | None, typer.Option(help="Column to judge by; repeatable; all unless given.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Model of a bundle; the one that serves unless given.")] = None,
    ensemble: Annotated[
        str | None, typer.Option(help="mean: judge the mean of the models' probabilities, beside each of them.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients for the intervals.")] = 1000,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    device: Annotated[str, typer.Option(help="Of PyTorch, for checkpoints: cpu or cuda.")] = "cpu",
    predictions: Annotated[
        Path | None, typer.Option(help="Where to put the answers (CSV) instead of OUT/predictions.csv.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for all that is written; RUN/evaluation-NAME unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Judge any model on labelled images: all figures with intervals, curves, subgroups, and what it got wrong.

    Example: edgedx evaluate runs/pneumonia-mnist/student --split test

    Example: edgedx evaluate runs/seed-0/teacher runs/seed-1/teacher runs/seed-2/teacher --ensemble mean

    Intervals are 95 % bootstrap over patients where there are patients, else over images. In a table, every column
    besides image, label and patient_id is a subgroup, and one that the model is told about (a recipe's section columns)
    is told; multilabel tables may have a column of 0, 1 or empty (not known)
    for each class instead of label. Images that cannot be read or are refused are counted and listed.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.judge.evaluation import evaluate as judge
    from edgedx.lab.judge.evaluation_files import write_evaluation
    from edgedx.lab.judge.subject import open_subject

    if split not in ("train", "val", "test"):
        raise UsageError(f"--split {split}: no such split", next_step="test, val or train")
    if ensemble not in (None, "mean"):
        raise UsageError(f"--ensemble {ensemble}: no such ensemble", next_step="--ensemble mean")
    if len(models) > 1 and ensemble is None:
        raise UsageError(
            "several models",
            next_step="--ensemble mean judges them as one; `edgedx compare` sets them side by side",
        )
    opened = [open_subject(model, run=run, variant=variant, threads=threads, device=device) for model in models]
    subject = opened[0]
    if ensemble is not None:
        from edgedx.lab.judge.ensemble import mean_of

        subject = mean_of(opened)
    found = judge(subject, data=data, split=split, point=point, subgroups=subgroup, resamples=resamples)
    alone = [judge(one, data=data, split=split, resamples=resamples) for one in opened] if ensemble else []
    folder = out or _folder(subject, found.asked.where)
    written = write_evaluation(found, folder, predictions)
    if json:
        members = {"members": [one.to_dict() for one in alone]} if alone else {}
        print_json({**found.to_dict(), **members, "written": [str(path) for path in written]})
        return
    print_evaluation(found)
    for one in alone:
        typer.echo(f"member    {one.subject.path}: {one.sentence}")
    typer.echo(f"written   {folder}: {', '.join(path.name for path in written if path.parent == folder)}")
    if predictions is not None:
        typer.echo(f"answers   {predictions}")
    synthetic_note(subject.synthetic)
    typer.echo(f"next      {_next(found)}")


def _folder(subject: Subject, where: str) -> Path:
    from edgedx.core.files import safe_name

    return (subject.run.path if subject.run else Path()) / safe_name(f"evaluation-{subject.name}-{where}")


def _next(found: Evaluation) -> str:
    subject = found.subject
    if subject.name == "teacher":
        return f"edgedx compress {subject.run or 'RUN'} --int8 --device this"
    if subject.run is not None:
        return f"edgedx report {subject.run}"
    return f"edgedx gate {subject.path} --data FOLDER (against what the bundle promises)"


def print_evaluation(found: Evaluation) -> None:
    """The sentence first, then the figures."""
    from collections import Counter

    from rich.console import Console

    figures, asked = found.figures, found.asked
    typer.echo(f"result    {found.sentence}")
    drawn = "patients" if figures.patients < figures.images else "images"
    typer.echo(
        f"judged    {figures.images} images of {figures.patients} patients ({asked.where}); {found.subject.ran}; "
        f"95 % intervals by {figures.resamples} resamples of {drawn}"
    )
    console = Console()
    if console.width < 110 and not console.is_terminal:
        console = Console(width=130)
    _print_classes(found, console)
    words = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "exact_match": "all findings right",
        "ece": "ECE",
        "brier": "Brier score",
    }
    told = [f"{word} {_shown(figures.overall[name])}" for name, word in words.items() if name in figures.overall]
    typer.echo("together  " + "; ".join(told))
    leads = [found.subject.positive] if found.subject.positive else list(figures.classes)
    for name in leads:
        levels = {key.rpartition("_")[2]: value for key, value in figures.classes[name].items() if "_at_" in key}
        told = [f"{_shown(value)} at specificity {level}" for level, value in levels.items()]
        typer.echo(f"fixed     sensitivity for {name}: {'; '.join(told)} (threshold chosen on these images)")
    if (sets := found.sets) is not None:
        covered = ", ".join(f"{name} {share:.2f}" for name, share in sets["covered"].items() if share is not None)
        typer.echo(
            f"sets      promised {sets['promised']:.2f} of each class, covered {covered}; "
            f"{sets['mean_size']:.2f} classes in a set"
        )
    if found.worth is not None:
        typer.echo(f"columns   {found.worth.sentence}")
    _print_subgroups(found, console)
    reasons = Counter(reason for _, reason in asked.left_out).most_common()
    if reasons:
        told = "; ".join(f"{count} {reason}" for reason, count in reasons)
        typer.echo(f"left out  {len(asked.left_out)} images: {told} (excluded.csv)")
    for warning in asked.warnings:
        typer.echo(f"note      {warning}")


def _print_classes(found: Evaluation, console: object) -> None:
    """A column for each class; with many classes a row for each, and fewer intervals."""
    from rich.table import Table
    from rich.text import Text

    figures = found.figures
    kinds = {
        "auc_roc": "AUC-ROC",
        "auc_pr": "AUC-PR",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "precision": "precision",
        "f1": "F1",
    }
    table = Table(box=None, pad_edge=False)
    names = list(figures.classes)
    if len(names) <= _COLUMNS:
        for title in ("", *names, "macro mean"):
            table.add_column(title, justify="right" if title else "left", no_wrap=True)
        table.add_row("images with", *(str(figures.support[name]) for name in names), "")
        for kind, word in kinds.items():
            cells = [_shown(figures.classes[name][kind]) for name in names]
            table.add_row(*map(Text, [word, *cells, _shown(figures.overall[f"macro_{kind}"])]))
    else:
        for title in ("", "images with", *kinds.values()):
            table.add_column(title, justify="right" if title else "left", no_wrap=True)
        rows = [(name, str(figures.support[name]), figures.classes[name]) for name in names]
        macro = {kind: figures.overall[f"macro_{kind}"] for kind in kinds}
        for name, count, one in [*rows, ("macro mean", "", macro)]:
            told = [_shown(one[kind]) if kind.startswith("auc") else _shown(one[kind]).split(" ")[0] for kind in kinds]
            table.add_row(*map(Text, [name, count, *told]))
    console.print(table)  # type: ignore[attr-defined]


def _print_subgroups(found: Evaluation, console: object) -> None:
    from rich.table import Table
    from rich.text import Text

    parts = found.parts
    if parts.subgroups:
        table = Table(box=None, pad_edge=False)
        for title in ("subgroup", "images", "patients", "AUC-ROC", "sensitivity", "specificity"):
            table.add_column(title, justify="left" if title == "subgroup" else "right")
        for part in parts.subgroups:
            cells = [part.name, str(part.images), str(part.patients), *(_shown(one) for one in part.figures.values())]
            table.add_row(*map(Text, cells))
        console.print(table)  # type: ignore[attr-defined]
    if parts.gap is not None:
        typer.echo(f"subgroups {parts.gap.sentence}")
    if parts.not_judged:
        typer.echo("too small " + "; ".join(f"{name} ({why})" for name, why in parts.not_judged))


def _shown(value: object) -> str:
    return "-" if str(value).startswith("nan") else str(value)
