"""``edgedx robustness``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import check_choice, run_of, torch_device
from edgedx.cli.options import AsJson, OfDevice, On, Run, Threads, ValOrTest
from edgedx.cli.stopping import at_work

from . import show


def robustness(
    models: Annotated[
        list[Path],
        typer.Argument(help="A run: its teacher and the model that is used; or models, the first to compare with."),
    ],
    split: ValOrTest = "test",
    run: Run = None,
    device: OfDevice = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise, rotations and draws.")] = 0,
    threads: Threads = 0,
    on: On = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder; RUN/robustness unless given.")] = None,
    json: AsJson = False,
) -> None:
    """Judge models on degraded images and on foreign ones: how much they lose, and whether they notice.

    Example: edgedx robustness runs/pneumonia-mnist

    Noise, blur, exposure, JPEG and rotation at five strengths; prediction sets by class; and how well energy,
    Mahalanobis distance and nearest neighbours tell foreign images (the recipe names sets of them, near and far) from
    images like those of the training set. Stopped, the same command goes on where it was.
    """
    from edgedx.lab.evidence.explain.subjects import open_models
    from edgedx.lab.evidence.robustness.files import write_robustness
    from edgedx.lab.evidence.robustness.robustness import finished
    from edgedx.lab.evidence.robustness.robustness import robustness as judge

    check_choice("--split", split, ("test", "val"))
    on = torch_device(on)
    subjects = open_models(models, run=run, profile=device, threads=threads, device=on)
    if len(models) == 1 and len(subjects) > 2:
        subjects = [subjects[0], subjects[-1]]  # teacher and what ships; the student in float lies between them
    run = subjects[0].run.path if subjects[0].run else run_of(models[0])
    folder = out or run / "robustness"
    with at_work(run, f"what the models answered so far is in {folder}"):
        figures = judge(subjects, split=split, seed=seed, folder=folder)
        written = write_robustness(figures, folder)
        finished(folder)
        show.robustness(figures, folder, written, run, json=json)
