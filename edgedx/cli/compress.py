"""edgedx compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import interval, keep_recipe, print_json, print_recipe, profile_for, run_of, run_recipe, synthetic_note


def compress(
    run: Annotated[Path, typer.Argument(help="Run folder, or its teacher: runs/NAME or runs/NAME/teacher.")],
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Quantize to INT8 by the device's scheme.")] = False,
    device: Annotated[
        str, typer.Option(help="Device profile (`edgedx devices list`), or this for this machine.")
    ] = "this",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. student.macs=0.5; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the effective recipe and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stage's record as JSON.")] = False,
) -> None:
    """Prune and distil the teacher into a student, export it, and quantize it.

    Example: edgedx compress runs/pneumonia-mnist --int8 --device x86-avx2
    """
    run = run_of(run)
    recipe = run_recipe(run, set_ or [])
    if dry_run:
        print_recipe(recipe)
        return
    from ..lab.compress import compress as work

    profile = profile_for(device)
    record = work(recipe, run, profile, int8=int8, resume=resume, overwrite=overwrite)
    keep_recipe(run, recipe)
    if json:
        print_json(record)
        return
    student, variants = record["student"], record["metrics"]["variants"]
    share = student["macs"] / student["teacher_macs"]
    typer.echo(f"device    {profile.name}: {profile.title}")
    typer.echo(
        f"student   {share:.0%} of the teacher's multiply-accumulates, test AUC {interval(student['test']['auc'])}"
    )
    for name, entry in variants.items():
        typer.echo(f"{name:<9} {entry['bytes'] / 1e6:.2f} MB, test AUC {interval(entry['test']['auc'])}")
    if "quantization" in record["metrics"]:
        chosen = record["metrics"]["quantization"]["chosen"]
        bits = 7 if chosen["reduce_range"] else 8
        typer.echo(f"chosen    calibrator {chosen['calibrator']}, {bits}-bit weights, nearest to FP32 on val")
    synthetic_note(recipe.synthetic)
    typer.echo(f"next      edgedx deploy {run} --target {profile.target}")
