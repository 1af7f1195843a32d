"""``edgedx gate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedx.cli.common import check_choice, print_json, run_around, run_of, run_recipe
from edgedx.cli.options import AsJson, OfDevice
from edgedx.cli.stopping import NOTHING, at_work

from . import show

if TYPE_CHECKING:
    from edgedx.core.stats.gate import Rule, Verdict
    from edgedx.device.clinic.promise import ClinicEvaluation


def gate(
    artifact: Annotated[
        Path,
        typer.Argument(help="Run folder, .onnx model in it, .edgedx bundle, or the root of an installed one."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled images to judge a bundle on: a folder per class, or a CSV (image,label)."),
    ] = None,
    device: OfDevice = None,
    run: Annotated[
        Path | None, typer.Option(help="Run with teacher and data set; found by itself for what lies in a run.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="CSV of another model's predictions (image, a probability per class) instead of a teacher."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="val or test of the run's data set; the recipe's gate.split unless given.")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(help="non-inferior (the interval of the loss must hold the budget) or value (the loss itself)."),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Model of a bundle, e.g. fp32; the one that is used unless given.")
    ] = None,
    subgroup: Annotated[
        list[str] | None, typer.Option(help="Column of the --data table to judge by; repeatable.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of one inference; 0 lets the runtime choose.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for gate.json and flips.csv; with a run RUN/devices/PROFILE/gate, else none."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Pass or fail a compressed model: AUC, sensitivity, calibration and changed decisions against its teacher.

    Example: edgedx gate runs/pneumonia-mnist --split test

    Example: edgedx gate chest.edgedx --data clinic-images

    With --data, a bundle is judged as a device would run it on a clinic's labelled images against the figures that it
    was delivered with, and against the teacher where --run or --reference is given; without --run that needs no torch.
    flips.csv lists the images that teacher and student decide differently. Exits with 1 when the gate says no.
    """
    from edgedx.core.errors import GateRefused

    asked = _Asked(artifact, device, run, reference, data, split, rule, variant, subgroup or [], threads, out, json)
    _check(asked)
    around = run_around(artifact) if data is None else None
    with at_work(around, NOTHING):
        document = _on_run(asked) if data is None else _on_samples(asked, data)
        if json:
            print_json(document)
        if not document["passed"]:
            raise GateRefused(f"the gate says no: {document['sentence']}", next_step=document["next_step"])


@dataclass(frozen=True)
class _Asked:
    """The call."""

    artifact: Path
    device: str | None
    run: Path | None
    reference: Path | None
    data: Path | None
    split: str | None
    rule: str | None
    variant: str | None
    subgroups: list[str]
    threads: int
    out: Path | None
    json: bool


def _check(asked: _Asked) -> None:
    from edgedx.core.errors import InputOutputError, UsageError
    from edgedx.lab.run.run import Run

    artifact, data = asked.artifact, asked.data
    if not artifact.exists():
        raise InputOutputError(f"nothing at {artifact}", next_step="give a run, an .onnx file in it, or a bundle")
    if asked.run is not None and asked.reference is not None:
        raise UsageError("--run and --reference both name a reference", next_step="give one of them")
    check_choice("--split", asked.split, ("val", "test"))
    check_choice("--rule", asked.rule, ("non-inferior", "value"))
    if data is not None and (artifact.suffix == ".onnx" or Run(artifact).exists):
        raise UsageError("--data is for bundles", next_step="edgedx gate NAME.edgedx --data ...")
    if data is not None and asked.split is not None:
        raise UsageError("--split is of a run's data set, --data are other images", next_step="give one of them")
    if data is None and asked.subgroups:
        raise UsageError("--subgroup is for --data", next_step="a run's are in data.subgroup_columns of its recipe")


def _on_run(asked: _Asked) -> dict[str, Any]:
    from edgedx.core.errors import UsageError
    from edgedx.core.stats.gate import write_verdict

    run = run_of(asked.run) if asked.run is not None else run_around(asked.artifact)
    if run is None:
        raise UsageError(
            f"{asked.artifact} lies in no run, so there is no teacher and no data set",
            next_step="name them: --run runs/NAME; or judge a bundle on labelled images: --data FOLDER",
        )
    recipe = run_recipe(run, [f"gate.rule={asked.rule}"] if asked.rule else [])
    from edgedx.lab.data.prepare import open_data
    from edgedx.lab.judge.gate import Judge
    from edgedx.lab.run.run import Run

    judge = Judge(recipe, Run(run), open_data(recipe, run), asked.split or "", asked.reference, asked.threads)
    verdict = judge.artifact(asked.artifact, variant=asked.variant, device=asked.device)
    folder = asked.out or Run(run).build_of(asked.artifact, asked.device).gate_folder
    write_verdict(folder, verdict)
    if not asked.json:
        show.gated(verdict, folder, run, asked.artifact, synthetic=recipe.synthetic)
    return {**verdict.to_dict(), "next_step": verdict.next_step, "flips_csv": str(folder / "flips.csv")}


def _on_samples(asked: _Asked, data: Path) -> dict[str, Any]:
    from typing import cast

    from edgedx.core.bundle.local_point import point_of
    from edgedx.core.stats.gate import write_verdict
    from edgedx.device.clinic.gate import against_promise, against_table, examine_samples
    from edgedx.device.clinic.samples import read_samples
    from edgedx.device.install.active import open_any
    from edgedx.device.install.health import serving_variant

    bundle = open_any(asked.artifact)
    samples = read_samples(data, bundle.manifest, asked.subgroups)
    variant = asked.variant or serving_variant(bundle)
    examined = examine_samples(bundle, samples, variant=variant, threads=asked.threads)
    point = point_of(bundle)
    promise = against_promise(bundle.manifest, samples, examined, point)
    rule = cast("Rule | None", asked.rule)
    verdict: Verdict | None = None
    if asked.reference is not None:
        verdict = against_table(bundle.manifest, examined, asked.reference, rule, point)
    elif asked.run is not None:
        from edgedx.lab.judge.gate import against_teacher

        run = run_of(asked.run)
        verdict = against_teacher(bundle.manifest, examined, run_recipe(run, []), run, rule)
    if verdict is not None and asked.out is not None:
        write_verdict(asked.out, verdict)
    if not asked.json:
        written = asked.out if verdict is not None else None
        show.gated_samples(promise, verdict, written, asked.artifact, synthetic=bundle.manifest.synthetic)
    return _document(promise, verdict, examined.ran)


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
