"""``edgedx compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedx.cli.common import check_choice, run_around, run_recipe, torch_device
from edgedx.cli.options import SPLITS, AsJson, On, Resamples, Run, Split, Threads
from edgedx.cli.stopping import at_work

from . import show


def compare(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoints, .onnx models, bundles; tables of `edgedx evaluate --predictions`; runs and crossval "
            "folders (all that is in them)."
        ),
    ],
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Train k-NN, SVM and logistic regression on the run's images too."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(help="Subject to compare the others with; every pair unless given, with --baselines teacher."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Labelled images to run the models on: a folder per class, or a CSV.")
    ] = None,
    split: Split = "test",
    run: Run = None,
    resamples: Resamples = 1000,
    threads: Threads = 0,
    on: On = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --baselines, train finished ones again.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for comparison.json, .md and .png.")] = Path("comparison"),
    json: AsJson = False,
) -> None:
    """Test whether one model is better than another on the same images, with intervals and p values.

    Example: edgedx compare runs/pneumonia-mnist/teacher runs/pneumonia-mnist/student

    Example: edgedx compare runs/pneumonia-mnist --baselines

    AUC by DeLong, decisions by McNemar; each with an effect size, and a p corrected for the number of comparisons
    (Holm). Of a crossval folder the folds are compared: paired t-test, the same corrected for shared training images,
    and Wilcoxon.

    --baselines shows what is possible without deep learning: k-NN, SVM and logistic regression on principal components
    of the pixels, on gradients (HOG), and on frozen features of the pretrained backbone; settings are chosen on val.
    Their predictions are kept in RUN/baselines, and finished ones are not trained again.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.compare.compare import compare as work
    from edgedx.lab.evidence.compare.files import write_comparison
    from edgedx.lab.evidence.compare.lineup import line_up

    check_choice("--split", split, SPLITS)
    on = torch_device(on)
    trained: dict[str, Any] = {}
    if baselines:
        if split == "train" or data is not None:
            raise UsageError(
                "--baselines are judged on test or val of their run", next_step="leave --data and --split out"
            )
        with at_work(run or run_around(subjects[0]), "baselines that are finished are kept", begun=lambda: True):
            folder, trained = _train(run or subjects[0], overwrite)
        if not any(folder.resolve() == subject.resolve() for subject in subjects):
            subjects = [*subjects, folder]
        if not json:
            show.baselines(trained, split)
    lineup = line_up(subjects, data=data, split=split, run=run, threads=threads, device=on)
    if baselines and against is None:
        against = "teacher" if "teacher" in lineup.answers else None
    comparison = work(lineup, baseline=against, resamples=resamples)
    written = write_comparison(comparison, out)
    show.compared(comparison, out, written, trained, synthetic=lineup.synthetic, json=json)


def _train(path: Path, overwrite: bool) -> tuple[Path, dict[str, Any]]:
    """Train the baselines of the run that a path lies in; their folder and records."""
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.compare.baselines import FOLDER
    from edgedx.lab.evidence.compare.baselines import baselines as train

    run = run_around(path)
    if run is None:
        raise UsageError(
            f"--baselines: {path} lies in no run (no recipe.yaml)", next_step="name a run first, or with --run"
        )
    return run / FOLDER, train(run_recipe(run, []), run, overwrite=overwrite)
