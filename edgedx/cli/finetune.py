"""edgedx finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import RUNS, interval, keep_recipe, print_json, print_recipe, synthetic_note


def finetune(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (`edgedx recipes list`) or a .yaml file.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE unless given.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. train.epochs=3; repeatable.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Pretrained weights: auto, none, a .safetensors or .pth file.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Random weights, for comparison.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the effective recipe and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stage's record as JSON.")] = False,
) -> None:
    """Train the full model (teacher) by two-phase transfer learning.

    Example: edgedx finetune pneumonia-mnist --set train.epochs=3

    On several GPUs or nodes: torchrun --nproc_per_node 2 -m edgedx finetune pneumonia-mnist

    Backbones tested: vgg16, resnet50, inception_v3, densenet121, tf_efficientnet_lite0/1/2, mobilenetv2_100,
    convnext_tiny; other timm models may work.
    """
    from edgedx.core.settings.recipe import load_recipe

    overrides = [*(set_ or []), *([f"model.weights={weights}"] if weights else [])]
    chosen = load_recipe(recipe, overrides)
    if dry_run:
        print_recipe(chosen)
        return
    from edgedx.lab.train.finetune import finetune as work

    run = out or RUNS / chosen.name
    record = work(chosen, run, from_scratch=from_scratch, resume=resume, overwrite=overwrite)
    if not record:  # a process beside the main one
        return
    keep_recipe(run, chosen)
    if json:
        print_json(record)
        return
    _print(record, run, chosen.synthetic)


def _print(record: dict, run: Path, synthetic: bool) -> None:  # type: ignore[type-arg]
    data, metrics = record["data"], record["metrics"]
    excluded = sum(data["excluded"].values())
    typer.echo(f"data      {data['images']} images of {data['patients']} patients; {excluded} excluded", nl=False)
    typer.echo(
        f" ({', '.join(f'{reason}: {count}' for reason, count in data['excluded'].items())})" if excluded else ""
    )
    for warning in data["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"weights   {metrics['weights_from']}")
    if record["reused"]:
        typer.echo("teacher   nothing changed; the finished stage is used (--overwrite trains again)")
    for split in ("val", "test"):
        typer.echo(f"{split:<9} AUC {interval(metrics[split]['auc'])}")
    synthetic_note(synthetic)
    typer.echo(f"written   {run / 'teacher'} (learning-curves.png, metrics.json)")
    typer.echo(f"next      edgedx compress {run} --int8")
