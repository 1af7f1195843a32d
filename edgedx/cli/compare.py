"""edgedx compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import print_json, synthetic_note

if TYPE_CHECKING:
    from edgedx.lab.evidence.compare.pairs import ModelComparison


def compare(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoints, .onnx variants, bundles; tables of `edgedx evaluate --predictions`; runs, RUN/baselines "
            "and crossval folders (all that is in them)."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Labelled images to ask models: a folder per class, or a CSV.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the runs' data set, without --data: test, val or train.")] = "test",
    baseline: Annotated[
        str | None, typer.Option(help="Subject that the others are compared with; every pair unless given.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run whose data set to ask models that lie in none.")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of patients for the intervals.")] = 1000,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    device: Annotated[str, typer.Option(help="Of PyTorch, for checkpoints: cpu or cuda.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder for comparison.json, .md and .png.")] = Path("comparison"),
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Is one model better than another on the same images? AUC by DeLong, decisions by McNemar; over folds t-tests.

    Example: edgedx compare runs/pneumonia-mnist runs/pneumonia-mnist/baselines --baseline teacher

    Every test comes with an effect size, and with a p corrected for the number of comparisons (Holm). Of a crossval
    folder the folds are compared: paired t-test, the same corrected for shared training images, and Wilcoxon.
    """
    from edgedx.core.errors import UsageError
    from edgedx.lab.evidence.compare.compare import compare as work
    from edgedx.lab.evidence.compare.files import report_of, write_comparison
    from edgedx.lab.evidence.compare.lineup import line_up

    if split not in ("train", "val", "test"):
        raise UsageError(f"--split {split}: no such split", next_step="test, val or train")
    lineup = line_up(subjects, data=data, split=split, run=run, threads=threads, device=device)
    found = work(lineup, baseline=baseline, resamples=resamples)
    written = write_comparison(found, out)
    if json:
        print_json({**report_of(found), "written": [str(path) for path in written]})
        return
    print_comparison(found)
    typer.echo(f"written   {out}: {', '.join(path.name for path in written)}")
    synthetic_note(lineup.synthetic)


def print_comparison(found: ModelComparison) -> None:
    """The sentences first, then the tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgedx.lab.evidence.compare.words import about, fold_rows, image_rows, sentences, subject_rows

    for sentence in sentences(found):
        typer.echo(f"result    {sentence}")
    typer.echo(f"compared  {about(found)}")
    console = Console()
    if console.width < 150 and not console.is_terminal:
        console = Console(width=150)
    for header, rows in (subject_rows(found), image_rows(found), fold_rows(found)):
        if rows:
            table = Table(box=None, pad_edge=False)
            for title in header:
                table.add_column(title)
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table)
    for note in found.notes:
        typer.echo(f"note      {note}")
