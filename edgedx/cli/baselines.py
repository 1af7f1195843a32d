"""edgedx baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import interval, print_json, run_of, run_recipe, synthetic_note


def baselines(
    run: Annotated[Path, typer.Argument(help="Run folder, with a data set: runs/NAME.")],
    split: Annotated[str, typer.Option(help="Whose figures to print: test or val; both are kept.")] = "test",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train finished ones again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stages' records as JSON.")] = False,
) -> None:
    """Train k-NN, SVM and logistic regression on the run's own split: what is possible without deep learning.

    Example: edgedx baselines runs/pneumonia-mnist

    Each on principal components of the pixels, on HOG, and on frozen features of the pretrained backbone. Settings are
    chosen on val. Answers are kept in RUN/baselines/NAME/val.csv and test.csv, models are not. Repeat the command to
    continue after an interruption.
    """
    from edgedx.core.errors import UsageError

    if split not in ("val", "test"):
        raise UsageError(f"--split {split}: no such answers", next_step="test or val")
    run = run_of(run)
    recipe = run_recipe(run, [])
    from edgedx.lab.evidence.compare.baselines import FOLDER
    from edgedx.lab.evidence.compare.baselines import baselines as work

    found = work(recipe, run, overwrite=overwrite)
    if json:
        print_json(found)
        return
    _print(found, split)
    synthetic_note(recipe.synthetic)
    typer.echo(f"written   {run / FOLDER}")
    typer.echo(f"next      edgedx compare {run} {run / FOLDER} --baseline teacher")


def _print(found: dict[str, dict[str, Any]], split: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("baseline", f"AUC on {split}", "sensitivity", "specificity", "chosen on val", "s"):
        table.add_column(title)
    order = sorted(found.items(), key=lambda item: -(item[1]["metrics"][split]["auc"]["value"] or 0))
    for name, record in order:
        metrics = record["metrics"]
        chosen = ", ".join(f"{key} {value}" for key, value in metrics["chosen"].items())
        rates = [interval(metrics[split].get(key)) for key in ("sensitivity", "specificity")]
        seconds = f"{record['wall_seconds']:.0f}" + (" (finished)" if record["reused"] else "")
        table.add_row(*map(Text, [name, interval(metrics[split]["auc"]), *rates, chosen, seconds]))
    console = Console()
    if console.width < 130 and not console.is_terminal:
        console = Console(width=130)
    console.print(table)
