"""``edgedx finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import RUNS, keep_recipe, print_recipe
from edgedx.cli.options import AsJson, Overwrite, Resume, Set
from edgedx.cli.stopping import run_at_work

from . import show


def finetune(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe of edgedx's (`edgedx recipes list`) or a .yaml file.")
    ],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE unless given.")] = None,
    set_: Set = None,
    weights: Annotated[
        str | None, typer.Option(help="Pretrained weights: auto, none, or a .safetensors or .pth file.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Random weights, for comparison.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe with its overrides, and stop.")] = False,
    json: AsJson = False,
) -> None:
    """Train the full model (the teacher) by two-phase transfer learning: first its new head, then all layers.

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
    with run_at_work(run, run / "teacher", resume=True):
        record = work(chosen, run, from_scratch=from_scratch, resume=resume, overwrite=overwrite)
        if not record:  # a process beside the main one
            return
        keep_recipe(run, chosen)
        show.finetuned(record, run, chosen, json=json)
