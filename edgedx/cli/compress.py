"""edgedx compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedx.core.errors import UsageError

from .budget import compress_by_budget
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
    max_auc_drop: Annotated[
        float | None, typer.Option(help="Budget: greatest loss of AUC against the teacher; searches a student.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(help="Budget: greatest latency of one image on one thread, e.g. 5ms; searches.")
    ] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Budget: share of the teacher's multiply-accumulates, e.g. 0.2; searches.")
    ] = None,
    unlabeled: Annotated[
        Path | None, typer.Option(help="Folder of further images, DICOM or raster, learned from the teacher alone.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Another teacher's checkpoint; repeatable. The student learns the mean of all."),
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Train the student without a teacher too, and tell what distillation won.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the effective recipe, or a search's plan and time, and stop.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the stage's record as JSON.")] = False,
) -> None:
    """Prune and distil the teacher into a student, export it, and quantize it.

    With a budget (--max-auc-drop, --max-latency, --max-macs) it searches the student that holds it, else it makes the
    one that the recipe describes.

    Example: edgedx compress runs/pneumonia-mnist --int8 --device x86-avx2

    Example: edgedx compress runs/pneumonia-mnist --int8 --max-auc-drop 0.005 --max-latency 1ms
    """
    run = run_of(run)
    recipe = run_recipe(run, set_ or [])
    profile = profile_for(device)
    if max_auc_drop is not None or max_latency is not None or max_macs is not None:
        if ablate or unlabeled or teacher:
            raise UsageError(
                "a search takes none of --ablate, --unlabeled and --teacher",
                next_step="search first, then repeat without the budget and with --overwrite",
            )
        compress_by_budget(
            recipe,
            run,
            profile,
            max_auc_drop=max_auc_drop,
            max_latency=max_latency,
            max_macs=max_macs,
            int8=int8,
            resume=resume,
            overwrite=overwrite,
            dry_run=dry_run,
            json=json,
        )
        return
    if dry_run:
        print_recipe(recipe)
        return
    from edgedx.lab.compress.compress import compress as work

    record = work(
        recipe,
        run,
        profile,
        int8=int8,
        ablate=ablate,
        unlabeled=unlabeled,
        teachers=teacher or [],
        resume=resume,
        overwrite=overwrite,
    )
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
    if (teachers := student["distillation"].get("teachers", 1)) > 1:
        typer.echo(f"teachers  {teachers}; the student learned the mean of their answers")
    if more := record.get("unlabeled"):
        left_out = more["files"] - more["images"]
        typer.echo(f"unlabeled {more['images']} images; {left_out} files left out, see {run}/unlabeled/excluded.csv")
    if gain := student["distillation"].get("gain"):
        typer.echo(f"ablation  {gain['sentence']}")
    for name, entry in variants.items():
        typer.echo(f"{name:<9} {entry['bytes'] / 1e6:.2f} MB, test AUC {interval(entry['test']['auc'])}")
    if quantization := record["metrics"].get("quantization"):
        _quantization(quantization)
    if choice := record["metrics"].get("choice"):
        typer.echo(f"ships     {choice['variant']}: {choice['reason']}")
    synthetic_note(recipe.synthetic)
    typer.echo(f"next      edgedx deploy {run} --target {profile.target}")


def _quantization(found: dict[str, Any]) -> None:
    chosen = found["chosen"]
    bits = 7 if chosen["reduce_range"] else 8
    steps = [name for name, key in (("bias correction", "bias_correction"), ("training", "qat"))
             if found.get(key, {}).get("kept")]  # fmt: skip
    typer.echo(
        f"chosen    calibrator {chosen['calibrator']}, {bits}-bit weights{''.join(f', {step}' for step in steps)}; "
        f"noise {chosen['noise']:.3f} against FP32"
    )
    for sentence in found.get("exclusion", {}).get("said", []):
        typer.echo(f"          {sentence}")
    if found["missed"]:
        typer.echo(f"missed    {found['missed']}, on val")
