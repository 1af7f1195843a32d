"""edgedx robustness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import print_json, run_of, synthetic_note


def robustness(
    models: Annotated[
        list[Path],
        typer.Argument(help="A run: its teacher and what ships; or models of one run, the first to compare with."),
    ],
    split: Annotated[str, typer.Option(help="Of the run's data set: test or val.")] = "test",
    run: Annotated[Path | None, typer.Option(help="Run whose data to use, for a bundle that lies elsewhere.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, turns and draws.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    device: Annotated[str, typer.Option(help="Of PyTorch, for checkpoints: cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder; RUN/robustness unless given.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Judge models on worse images and foreign ones: what it costs, and whether they notice.

    Example: edgedx robustness runs/pneumonia-mnist

    Noise, blur, exposure, JPEG and rotation at five strengths; conformal sets by class; and how well energy,
    Mahalanobis distance and nearest neighbours tell the foreign sets of the recipe (near and far) from the own images.
    Stopped, the same command goes on where it was.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.explain.subjects import open_models
    from edgedx.lab.evidence.robustness.files import write_robustness
    from edgedx.lab.evidence.robustness.robustness import finished
    from edgedx.lab.evidence.robustness.robustness import robustness as judge

    if split not in ("test", "val"):
        raise UsageError(f"--split {split}: no such split", next_step="test or val")
    subjects = open_models(models, run=run, threads=threads, device=device)
    if len(models) == 1 and len(subjects) > 2:
        subjects = [subjects[0], subjects[-1]]  # teacher and what ships; the student in float lies between them
    folder = out or (subjects[0].run.path if subjects[0].run else run_of(models[0])) / "robustness"
    found = judge(subjects, split=split, seed=seed, folder=folder)
    written = write_robustness(found, folder)
    finished(folder)
    if json:
        print_json({**found, "written": [str(path) for path in written]})
        return
    _print(found)
    typer.echo(f"written   {folder}: {', '.join(path.name for path in written)}")
    synthetic_note(found["synthetic"])
    typer.echo(f"next      edgedx report {subjects[0].run} puts it into the report")


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    from edgedx.lab.evidence.robustness.files import HEADER, foreign_rows, rows, summary

    console = Console()
    if console.width < 110 and not console.is_terminal:
        console = Console(width=110)
    for text in summary(found):
        typer.echo(text)
    for name in found["foreign_missing"]:
        typer.echo(f"foreign set {name} is not here, so it was not asked", err=True)
    for model in found["models"]:
        clean = model["clean"]
        told = f", least covered class {min(clean['covered'].values()):.2f}" if "covered" in clean else ""
        title = f"{model['name']}: AUC by strength; clean {clean['auc']['value']:.3f}, ECE {clean['ece']:.3f}{told}"
        console.print(_table(title, HEADER, rows(model)))
        console.print(_table(f"{model['name']}: foreign images told from its own", *foreign_rows(model)))


def _table(title: str, header: list[str], lines: list[list[str]]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column(header[0])
    for text in header[1:]:
        table.add_column(text, justify="right")
    for line in lines:
        table.add_row(*line)
    return table
