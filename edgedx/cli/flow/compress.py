"""``edgedx compress``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import int8_for, keep_recipe, print_recipe, profile_for, run_of, run_recipe
from edgedx.cli.options import AsJson, Device, Int8, Overwrite, Resume, Set
from edgedx.cli.stopping import run_at_work

from . import show
from .budget import compress_by_budget


def compress(
    run: Annotated[Path, typer.Argument(help="Run folder, or its teacher: runs/NAME or runs/NAME/teacher.")],
    device: Device = "this",
    int8: Int8 = None,
    set_: Set = None,
    max_auc_drop: Annotated[
        float | None, typer.Option(help="Budget: greatest loss of AUC against the teacher, e.g. 0.005.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(help="Budget: greatest latency of one image on one thread, e.g. 5ms.")
    ] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Budget: share of the teacher's multiply-accumulates (MACs), e.g. 0.2.")
    ] = None,
    unlabeled: Annotated[
        Path | None, typer.Option(help="Folder of images without labels, DICOM or raster, to learn from the teacher.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoint of another teacher; repeatable. The student learns the mean of all."),
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Train the student without a teacher too, and show what distillation won.")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the recipe, or a search's plan and time, and stop.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Prune and distil the teacher into a small student, export it to ONNX, and quantize it to 8-bit integers (INT8).

    With a budget (--max-auc-drop, --max-latency, --max-macs) it searches a student that holds it, else it makes the
    one that the recipe describes.

    Example: edgedx compress runs/pneumonia-mnist --device orin-nano-8gb

    Example: edgedx compress runs/pneumonia-mnist --max-auc-drop 0.005 --max-latency 1ms

    On several GPUs: torchrun --nproc_per_node 2 -m edgedx compress runs/pneumonia-mnist

    INT8 is made wherever the device has integer kernels; which model is used there, INT8 or float, is decided by
    measurement where that is possible, and said with its reason.
    """
    from edgedx.core.errors import UsageError

    run = run_of(run)
    recipe = run_recipe(run, set_ or [])
    profile = profile_for(device)
    int8 = int8_for(profile, int8)
    if max_auc_drop is not None or max_latency is not None or max_macs is not None:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise UsageError(
                "a search runs in one process",
                next_step="start it without torchrun; the student that it finds can then be trained by several",
            )
        if ablate or unlabeled or teacher:
            raise UsageError(
                "a search takes none of --ablate, --unlabeled and --teacher",
                next_step="search first, then repeat without the budget and with --overwrite",
            )
        compress_by_budget(
            recipe, run, profile, max_auc_drop=max_auc_drop, max_latency=max_latency, max_macs=max_macs, int8=int8,
            resume=resume, overwrite=overwrite, dry_run=dry_run, json=json,
        )  # fmt: skip
        return
    if dry_run:
        print_recipe(recipe)
        return
    from edgedx.lab.compress.compress import compress as work

    begun = run / "student", run / "devices" / profile.name

    with run_at_work(run, *begun, resume=True):
        record = work(
            recipe, run, profile, int8=int8, ablate=ablate, unlabeled=unlabeled, teachers=teacher or [], resume=resume,
            overwrite=overwrite,
        )  # fmt: skip
        if not record:  # a process beside the main one
            return
        keep_recipe(run, recipe)
        show.compressed(record, run, recipe, profile, json=json)
