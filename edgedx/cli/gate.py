"""edgedx gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import print_json, run_of, run_recipe, synthetic_note

if TYPE_CHECKING:
    from edgedx.core.stats.gate import Rule, Verdict
    from edgedx.device.clinic.promise import ClinicEvaluation


def gate(
    artifact: Annotated[
        Path, typer.Argument(help="Run folder, an .onnx variant in it, a .edgedx bundle, or an installed one's root.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="Run with teacher and data set; found by itself for what lies in a run.")
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="CSV of another model's answers (image, a probability per class) as the reference."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Labelled images for a bundle: a folder per class, or a CSV (image,label).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="val or test of the run's data set; the recipe's gate.split unless given.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="non-inferior or value, instead of the recipe's or bundle's.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Model of a bundle, e.g. fp32; the one that serves unless given.")
    ] = None,
    subgroup: Annotated[
        list[str] | None, typer.Option(help="Column of the --data table to judge by; repeatable.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for gate.json and flips.csv; with a run RUN/gate, else none.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Judge the artifact that ships: AUC, sensitivity, flips, calibration and subgroups, against its teacher.

    Example: edgedx gate runs/pneumonia-mnist --split test

    With --data, a bundle is judged by its own runner on a clinic's labelled images against what it promises, and
    against the teacher where --run or --teacher is given; without --run that needs no torch. Exits with 1 when the
    gate says no.
    """
    from edgedx.core.errors import GateRefused

    _check(artifact, run, teacher, data, split, rule, subgroup)
    if data is not None:
        document = _on_samples(artifact, data, run, teacher, rule, variant, subgroup or [], threads, out, json)
    else:
        document = _on_run(artifact, run, teacher, split, rule, variant, threads, out, json)
    if json:
        print_json(document)
    if not document["passed"]:
        raise GateRefused(f"the gate says no: {document['sentence']}", next_step=document["next_step"])


def _check(
    artifact: Path,
    run: Path | None,
    teacher: Path | None,
    data: Path | None,
    split: str | None,
    rule: str | None,
    subgroup: list[str] | None,
) -> None:
    from edgedx.core.errors import InputOutputError, UsageError

    if not artifact.exists():
        raise InputOutputError(f"nothing at {artifact}", next_step="give a run, an .onnx file in it, or a bundle")
    if run is not None and teacher is not None:
        raise UsageError("--run and --teacher both name a reference", next_step="give one of them")
    if split not in (None, "val", "test"):
        raise UsageError(f"--split {split}: no such split", next_step="val or test")
    if rule not in (None, "non-inferior", "value"):
        raise UsageError(f"--rule {rule}: no such rule", next_step="non-inferior or value")
    if data is not None and (artifact.suffix == ".onnx" or (artifact / "recipe.yaml").is_file()):
        raise UsageError("--data is for bundles", next_step="edgedx gate runs/NAME/bundle/NAME.edgedx --data ...")
    if data is not None and split is not None:
        raise UsageError("--split is of a run's data set, --data are other images", next_step="give one of them")
    if data is None and subgroup:
        raise UsageError("--subgroup is for --data", next_step="a run's are in data.subgroup_columns of its recipe")


def _on_run(
    artifact: Path,
    run: Path | None,
    teacher: Path | None,
    split: str | None,
    rule: str | None,
    variant: str | None,
    threads: int,
    out: Path | None,
    json: bool,
) -> dict[str, Any]:
    from edgedx.core.stats.gate import write_verdict

    run = run_of(run) if run is not None else _run_around(artifact)
    recipe = run_recipe(run, [f"gate.rule={rule}"] if rule else [])
    from edgedx.lab.judge.gate import judge_artifact

    verdict = judge_artifact(recipe, run, artifact, split=split, variant=variant, predictions=teacher, threads=threads)
    folder = out or run / "gate"
    write_verdict(folder, verdict)
    if not json:
        print_verdict(verdict)
        typer.echo(f"written   {folder / 'gate.json'}, {folder / 'flips.csv'}")
        synthetic_note(recipe.synthetic)
        if verdict.passed:
            bundle = artifact.suffix == ".edgedx"
            typer.echo(f"next      edgedx {f'install {artifact} --root DIR' if bundle else f'deploy {run}'}")
    return {**verdict.to_dict(), "next_step": verdict.next_step, "flips_csv": str(folder / "flips.csv")}


def _run_around(artifact: Path) -> Path:
    """The run that an artifact lies in: itself, one of its stages, or a file in one."""
    from edgedx.core.errors import UsageError

    for folder in (artifact, artifact.parent, artifact.parent.parent):
        if (folder / "recipe.yaml").is_file():
            return folder
    raise UsageError(
        f"{artifact} lies in no run, so there is no teacher and no data set",
        next_step="name them: --run runs/NAME; or judge a bundle on labelled images: --data FOLDER",
    )


def _on_samples(
    artifact: Path,
    data: Path,
    run: Path | None,
    teacher: Path | None,
    rule: str | None,
    variant: str | None,
    subgroups: list[str],
    threads: int,
    out: Path | None,
    json: bool,
) -> dict[str, Any]:
    from typing import cast

    from edgedx.core.stats.gate import write_verdict
    from edgedx.device.clinic.gate import against_promise, against_table, examine_samples
    from edgedx.device.clinic.samples import read_samples
    from edgedx.device.install.active import open_any
    from edgedx.device.install.health import serving_variant

    bundle = open_any(artifact)
    samples = read_samples(data, bundle.manifest, subgroups)
    found = examine_samples(bundle, samples, variant=variant or serving_variant(bundle), threads=threads)
    promise = against_promise(bundle.manifest, samples, found)
    chosen = cast("Rule | None", rule)
    verdict: Verdict | None = None
    if teacher is not None:
        verdict = against_table(bundle.manifest, found, teacher, chosen)
    elif run is not None:
        from edgedx.lab.judge.gate import against_teacher

        verdict = against_teacher(bundle.manifest, found, run_recipe(run_of(run), []), run_of(run), chosen)
    if verdict is not None and out is not None:
        write_verdict(out, verdict)
    if not json:
        _print_promise(promise)
        if verdict is not None:
            print_verdict(verdict)
        if out is not None and verdict is not None:
            typer.echo(f"written   {out / 'gate.json'}, {out / 'flips.csv'}")
        synthetic_note(bundle.manifest.synthetic)
        if promise.passed and (verdict is None or verdict.passed):
            typer.echo(f"next      edgedx scan INBOX --bundle {artifact} --out OUT")
    return _document(promise, verdict, found.ran)


def _document(promise: ClinicEvaluation, verdict: Verdict | None, ran: str) -> dict[str, Any]:
    failed = [one for one in (promise, verdict) if one is not None and not one.passed]
    return {
        "schema_version": 1,
        "passed": not failed,
        "sentence": "; ".join(one.sentence for one in failed or [promise]),
        "next_step": (verdict.next_step if verdict and not verdict.passed else "")
        or "compare the images with those of the data set, and compress or train for this clinic",
        "ran": ran,
        "promise": promise.to_dict(),
        "teacher": verdict.to_dict() if verdict else None,
    }


def print_verdict(verdict: Verdict) -> None:
    """The sentence first, then the figures."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgedx.core.stats.gate import rows_of

    typer.echo(f"gate      {'passed' if verdict.passed else 'NO'}: {verdict.sentence}")
    typer.echo(f"judged    {verdict.images} images of {verdict.patients} patients ({verdict.where}); {verdict.ran}")
    if (found := verdict.comparison) is None:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("", "teacher (95 %)", "student (95 %)", "lost (95 %)"):
        table.add_column(title, justify="right" if title else "left")
    for row in rows_of(verdict):
        table.add_row(*map(Text, row))
    console = Console()
    if console.width < 110 and not console.is_terminal:
        console = Console(width=120)
    console.print(table)
    one, two = verdict.points
    at = two if one == two else f"{two}, teacher at {one}"
    typer.echo(f"flips     {len(verdict.flips)} of {verdict.images} decisions differ (at {at})")
    if gap := found.largest_gap:
        typer.echo(f"subgroups {gap.name} lost most: {gap.auc.drop} AUC, {gap.images} images")
    if found.not_judged:
        typer.echo("unjudged  " + "; ".join(f"{name} ({why})" for name, why in found.not_judged))


def _print_promise(promise: ClinicEvaluation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    typer.echo(f"gate      {'passed' if promise.passed else 'NO'}: {promise.sentence}")
    typer.echo(f"judged    {promise.answered} of {promise.samples} samples answered")
    table = Table(box=None, pad_edge=False)
    for title in ("", "here (95 %)", "promised"):
        table.add_column(title, justify="right" if title else "left")
    for row in promise.rows():
        table.add_row(*map(Text, row))
    Console().print(table)
